"""The filters of Katana's lists: which records a query asks for."""

from collections.abc import Iterable
from datetime import UTC, datetime

from werkzeug.datastructures import MultiDict

from sandbox.clock import iso
from sandbox.refusals import invalid_query
from sandbox.shapes import Record

# Filters by id: name in the query, and the field that it looks at.
_BY_ID = {"ids": "id", "variant_id": "variant_id", "customer_id": "customer_id"}


def matching(records: Iterable[Record], query: MultiDict[str, str]) -> list[Record]:
    """Return the records that pass every filter; a name that is no filter is ignored.

    :raise ApiRefusal: 422, a filter's value is not what it should be.
    """
    kept = list(records)
    for name, field in _BY_ID.items():
        if name in query:
            wanted = {_whole_number(name, text) for text in query.getlist(name)}
            kept = [record for record in kept if record.get(field) in wanted]
    if "created_at_min" in query:
        earliest = _moment("created_at_min", query["created_at_min"])
        kept = [record for record in kept if record.get("created_at", earliest) >= earliest]
    return kept


def whole_number_in_query(name: str, default: int, query: MultiDict[str, str]) -> int:
    """Return a number from 1 on.

    :raise ApiRefusal: 422, it is not one.
    """
    return _whole_number(name, query[name]) if name in query else default


def _whole_number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and int(text) > 0):
        raise invalid_query(f".{name}", "type", "should be a positive integer")

    return int(text)


def _moment(name: str, text: str) -> str:
    """Return a moment as records write theirs, so that the two compare as text."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise invalid_query(f".{name}", "format", 'should match format "date-time"') from None

    return iso(moment.astimezone(UTC) if moment.tzinfo else moment)
