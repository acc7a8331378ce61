"""The filters of Katana's lists: which records match a query."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from werkzeug.datastructures import MultiDict

from sandbox.clock import iso
from sandbox.refusals import invalid_query

# Filters by id: name in the query, and the field that it looks at.
_BY_ID = {
    "ids": "id",
    "variant_id": "variant_id",
    "customer_id": "customer_id",
    "sales_order_ids": "sales_order_id",
}
# Filters by exact text, which may be given several times.
_BY_TEXT = ("order_no", "status", "email", "sku")
# Filters by time, both ends included; a record without such a time passes.
_BY_MOMENT = ("created_at", "updated_at")


class Filterable(Protocol):
    """A record that can be filtered: a dict, or a `Kept`."""

    def get(self, name: str, default: Any = None, /) -> Any:
        """Return a field, or `default`."""


Found = TypeVar("Found", bound=Filterable)


def matching(records: Iterable[Found], query: MultiDict[str, str]) -> list[Found]:
    """Return the records that pass every filter; an unknown parameter is ignored.

    Deleted records pass only with `include_deleted=true`.

    :raise ApiRefusal: 422, a filter has an invalid value.
    """
    kept = list(records)
    if not _flag("include_deleted", query):
        kept = [record for record in kept if record.get("deleted_at") is None]
    for name, field in _BY_ID.items():
        if name in query:
            wanted = {_whole_number(name, text) for text in query.getlist(name)}
            kept = [record for record in kept if record.get(field) in wanted]
    for name in _BY_TEXT:
        if name in query:
            kept = [record for record in kept if record.get(name) in query.getlist(name)]
    for field in _BY_MOMENT:
        kept = _between(kept, field, query)
    return kept


def _between(records: list[Found], field: str, query: MultiDict[str, str]) -> list[Found]:
    if f"{field}_min" in query:
        low = _moment(f"{field}_min", query[f"{field}_min"])
        records = [record for record in records if record.get(field, low) >= low]
    if f"{field}_max" in query:
        high = _moment(f"{field}_max", query[f"{field}_max"])
        records = [record for record in records if record.get(field, high) <= high]
    return records


def _flag(name: str, query: MultiDict[str, str]) -> bool:
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise invalid_query(f".{name}", "type", "should be boolean")

    return text == "true"


def whole_number_in_query(name: str, default: int, query: MultiDict[str, str]) -> int:
    """Return a positive whole number of the query.

    :raise ApiRefusal: 422, it is not one.
    """
    return _whole_number(name, query[name]) if name in query else default


def _whole_number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and int(text) > 0):
        raise invalid_query(f".{name}", "type", "should be a positive integer")

    return int(text)


def _moment(name: str, text: str) -> str:
    """Return a time in the format of the records, so that the two compare as text."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise invalid_query(f".{name}", "format", 'should match format "date-time"') from None

    return iso(moment.astimezone(UTC) if moment.tzinfo else moment)
