"""The records of Katana's API that this app shows, parsed tolerantly from JSON.

Fields and types: developer.katanamrp.com/reference. Quantities are strings with five decimals,
prices are numbers or strings; both become Decimal. To read other records, add a class here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Self

Json = Mapping[str, Any]
#: JSON strings may contain control characters and lone surrogates; databases cannot store them.
UNSTORABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
#: Bidirectional controls (Unicode Annex 9) reorder the text of a page around them.
BIDIRECTIONAL = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
DIGITS = 30  # before or after the decimal point; a number with more is invalid


@dataclass(frozen=True)
class Factory:
    """The connected Katana account. Katana publishes no id for it."""

    name: str
    currency: str

    @classmethod
    def read(cls, record: Json) -> Self:
        return cls(
            name=_text(record.get("display_name")) or _text(record.get("legal_name")),
            currency=_text(record.get("base_currency_code")),
        )


@dataclass(frozen=True)
class SalesOrder:
    """An order that a customer has placed."""

    id: int
    number: str
    customer_id: int | None
    status: str
    total: Decimal | None
    currency: str
    created_at: datetime | None

    @classmethod
    def read(cls, record: Json) -> Self:
        return cls(
            id=_id(record["id"]),
            number=_text(record.get("order_no")),
            customer_id=_id_or_none(record.get("customer_id")),
            status=_text(record.get("status")),
            total=_decimal(record.get("total")),
            currency=_text(record.get("currency")),
            created_at=_moment(record.get("order_created_date") or record.get("created_at")),
        )


@dataclass(frozen=True)
class Customer:
    """A customer who places orders."""

    id: int
    name: str

    @classmethod
    def read(cls, record: Json) -> Self:
        return cls(id=_id(record["id"]), name=_text(record.get("name")))


@dataclass(frozen=True)
class Variant:
    """A variant of a product, the unit of stock."""

    id: int
    sku: str


@dataclass(frozen=True)
class Product:
    """A product that the factory makes or sells."""

    id: int
    name: str
    unit: str
    variants: tuple[Variant, ...]

    @classmethod
    def read(cls, record: Json) -> Self:
        return cls(
            id=_id(record["id"]),
            name=_text(record.get("name")),
            unit=_text(record.get("uom")),
            variants=tuple(
                Variant(id=_id(variant["id"]), sku=_text(variant.get("sku")))
                for variant in record.get("variants") or ()
            ),
        )


@dataclass(frozen=True)
class Stock:
    """The stock of one variant at one location."""

    variant_id: int
    in_stock: Decimal
    committed: Decimal
    expected: Decimal

    @classmethod
    def read(cls, record: Json) -> Self:
        return cls(
            variant_id=_id(record["variant_id"]),
            in_stock=_decimal(record.get("quantity_in_stock")) or Decimal(0),
            committed=_decimal(record.get("quantity_committed")) or Decimal(0),
            expected=_decimal(record.get("quantity_expected")) or Decimal(0),
        )


def _text(value: object) -> str:
    if not isinstance(value, str):
        return ""
    return UNSTORABLE.sub(" ", BIDIRECTIONAL.sub("", value))


def _id(value: object) -> int:
    """An id, which Katana sends as a number or a string. Raises ValueError for anything else."""
    number = _id_or_none(value)
    if number is None:
        raise ValueError("not an id")
    return number


def _id_or_none(value: object) -> int | None:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def _decimal(value: object) -> Decimal | None:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    # "1e999999999" would take a gigabyte when formatted.
    return number if number.is_finite() and abs(number.adjusted()) <= DIGITS else None


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(_text(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else None
