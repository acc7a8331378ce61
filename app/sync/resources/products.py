"""Products with their variants."""

from app.katana.fields import Json, dated, parts, required, text
from app.sync.copy import Product, Variant
from app.sync.resources import Read, Resource


def read(record: Json) -> Read:
    """A product: developer.katanamrp.com/reference/list-all-products."""
    columns = {"name": text(record, "name", 200), "unit": text(record, "uom", 40)}
    variants = [
        {"id": required(variant, "id"), "sku": text(variant, "sku", 200)}
        for variant in parts(record, "variants")
    ]
    return Read((required(record, "id"),), columns | dated(record), variants)


KINDS, EVENTS = ("product", "variant"), ("created", "updated", "deleted")

PRODUCTS = Resource(
    "/products",
    Product,
    read,
    events=tuple(f"{kind}.{event}" for kind in KINDS for event in EVENTS),
    parts=(Variant, "product_id"),
)
