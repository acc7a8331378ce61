"""Parse the fields of a record strictly. A record with an invalid field is not stored.

A missing text becomes an empty string. Numbers may be strings, as Katana sends many of them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from app.database.columns import MOST, SCALE
from app.katana.records import UNSTORABLE

Json = Mapping[str, Any]
MOST_ID = 2**63 - 1
EXACT = Decimal(1).scaleb(-SCALE)  # rounded as it is stored, so that both compare equal


class Unreadable(ValueError):
    """A record is invalid. The message names the field, and contains no value."""


def number(record: Json, name: str) -> int | None:
    """An id; None if it is missing."""
    value = record.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if value is None or (type(value) is int and 0 <= value <= MOST_ID):
        return value

    raise Unreadable(f"{name} is not an id")


def required(record: Json, name: str) -> int:
    """A required id."""
    value = number(record, name)
    if value is None:
        raise Unreadable(f"{name} is missing")

    return value


def text(record: Json, name: str, most: int) -> str:
    """A text, cut to `most` characters; control characters become spaces."""
    value = record.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unreadable(f"{name} is not a text")

    return UNSTORABLE.sub(" ", value)[:most]


def amount(record: Json, name: str) -> Decimal | None:
    """A quantity or an amount of money; None if it is missing."""
    value = record.get(name)
    if value is None or value == "":
        return None
    try:
        amount = Decimal(str(value)) if type(value) in (int, float, str) else None
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite() or abs(amount) > MOST:
        raise Unreadable(f"{name} is not an amount")

    return amount.quantize(EXACT)


def moment(record: Json, name: str) -> datetime | None:
    """A time with a time zone, converted to UTC; None if it is missing."""
    value = record.get(name)
    if value is None or value == "":
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Unreadable(f"{name} is not a time with a time zone")

    return moment.astimezone(UTC)


def dated(record: Json) -> dict[str, Any]:
    """The columns `updated_at` and `deleted_at`, which most records have."""
    updated_at = moment(record, "updated_at")
    if updated_at is None:
        raise Unreadable("updated_at is missing")

    return {"updated_at": updated_at, "deleted_at": moment(record, "deleted_at")}


def parts(record: Json, name: str) -> list[Json]:
    """The nested records in a field."""
    value = record.get(name) or []
    if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
        raise Unreadable(f"{name} is not a list of records")

    return value
