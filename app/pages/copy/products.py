"""The names of variants: rows of orders and stock contain only their ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Select, and_

from app.database.db import db
from app.sync.copy import Product, Variant, shown


@dataclass(frozen=True)
class Named:
    """A variant as a page shows it."""

    product: str
    sku: str = ""
    unit: str = ""

    @classmethod
    def unknown(cls, variant_id: int | None) -> "Named":
        """A variant whose product is not in the copy, such as a material."""
        return cls(f"Item {variant_id}" if variant_id else "")


def names_of(connection_id: UUID, variant_ids: Sequence[int]) -> Mapping[int, Named]:
    """The known names, by the variant's id."""
    if not variant_ids:
        return {}

    found = names(connection_id).where(Variant.id.in_(variant_ids))
    return {number: Named(*named) for number, *named in db.session.execute(found)}


def names(connection_id: UUID) -> Select[int, str, str, str]:
    """All variants of a connection: id, product, SKU, unit."""
    its = and_(Variant.connection_id == Product.connection_id, Variant.product_id == Product.id)
    columns = (Variant.id, Product.name, Variant.sku, Product.unit)
    return shown(Product, connection_id).join(Variant, its).with_only_columns(*columns)
