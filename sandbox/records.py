"""A list of a factory's records, which can change while an app reads it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

from sandbox.clock import iso
from sandbox.record_templates import Record

#: A record, or a function that builds it on each read, so that 100,000 records need little memory.
Content = Record | Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Kept:
    """A record and the values that filters use; an invalid record may itself have others."""

    serial: int
    id: object
    content: Content
    created_at: str | None = None
    updated_at: str | None = None
    deleted_at: str | None = None
    order_no: str | None = None

    @property
    def record(self) -> Any:
        """Return the record as the API shows it: a dict, unless it is an invalid one."""
        record = self.content() if callable(self.content) else self.content
        return record | {"deleted_at": self.deleted_at} if self.deleted_at else record

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field as the filters see it, or `default`."""
        if name == "order_no" and self.order_no is not None and callable(self.content):
            return self.order_no
        if name in ("id", "created_at", "updated_at", "deleted_at"):
            value = getattr(self, name)
            return default if value is None else value

        record = self.record
        return record.get(name, default) if isinstance(record, dict) else default


class Records:
    """The records of one list, deleted ones included; each change replaces a record as a whole.

    Iterating gives the records that are not deleted, in Katana's order.
    """

    def __init__(
        self, records: Iterable[Record] = (), *, key: str = "id", newest_first: bool = True
    ) -> None:
        self._lock = Lock()
        self._key = key
        self._newest_first = newest_first
        self._kept: dict[int, Kept] = {}
        self._serials: dict[object, int] = {}
        self._ordered: dict[str, list[Kept]] = {}
        self._last = 0
        for record in records:
            self.add(record)

    def __iter__(self) -> Iterator[Record]:
        return (kept.record for kept in self.ordered() if kept.deleted_at is None)

    def __len__(self) -> int:
        with self._lock:
            return sum(kept.deleted_at is None for kept in self._kept.values())

    def ordered(self, by: str = "created_at") -> list[Kept]:
        """Return all records as they are now, the newest by the field `by` first."""
        with self._lock:
            if by not in self._ordered:
                self._ordered[by] = self._sorted(by)
            return self._ordered[by]

    def find(self, record_id: object) -> Kept:
        """Return the record with this id.

        :raise LookupError: there is no such record.
        """
        with self._lock:
            return self._find(record_id)

    def add(self, record: Record, *, at: str | None = None) -> Kept:
        """Add a record; `at` is its timestamp if the record has no valid one."""
        created = at or record.get("created_at")
        updated = at or record.get("updated_at")
        with self._lock:
            return self._add(record.get(self._key), record, created, updated)

    def add_built(
        self, record_id: int, at: str, build: Callable[[], Record], order_no: str
    ) -> Kept:
        """Add a record that is built on each read; a filter by `order_no` does not build it."""
        with self._lock:
            return self._put(replace(self._add(record_id, build, at, at), order_no=order_no))

    def change(self, record_id: object, at: str, fields: Record) -> Kept:
        """Change some fields of a record at the time `at`.

        :raise LookupError: there is no such record, or it is deleted.
        """
        with self._lock:
            kept = self._living(record_id)
            if kept.updated_at is None:
                return self._put(replace(kept, content=kept.record | fields))
            at = _later(kept.updated_at, at)
            content = kept.record | {"updated_at": at} | fields
            return self._put(replace(kept, content=content, updated_at=at))

    def put(self, serial: int, at: str, content: Content) -> Kept:
        """Replace the content of a record; both contents may be invalid.

        :raise LookupError: there is no record with this serial number.
        """
        with self._lock:
            if serial not in self._kept:
                raise LookupError(f"There is no record in place {serial}.")
            kept = self._kept[serial]
            return self._put(replace(kept, content=content, updated_at=kept.updated_at and at))

    def delete(self, record_id: object, at: str) -> Kept:
        """Mark a record as deleted; `at` is its `deleted_at` and `updated_at`.

        :raise LookupError: there is no such record, or it is deleted.
        """
        with self._lock:
            kept = self._living(record_id)
            at = _later(kept.updated_at, at)
            content = kept.record | {"updated_at": at}
            return self._put(replace(kept, content=content, updated_at=at, deleted_at=at))

    def _add(
        self, record_id: object, content: Content, created: str | None, updated: str | None
    ) -> Kept:
        self._last += 1
        kept = Kept(self._last, record_id, content, created, updated)
        if isinstance(record_id, int | str):
            self._serials[record_id] = kept.serial
        return self._put(kept)

    def _put(self, kept: Kept) -> Kept:
        self._kept[kept.serial] = kept
        self._ordered = {}
        return kept

    def _find(self, record_id: object) -> Kept:
        serial = self._serials.get(record_id)
        if serial is None:
            raise LookupError(f"There is no record {record_id!r}.")

        return self._kept[serial]

    def _living(self, record_id: object) -> Kept:
        kept = self._find(record_id)
        if kept.deleted_at is not None:
            raise LookupError(f"Record {record_id!r} is deleted.")

        return kept

    def _sorted(self, by: str) -> list[Kept]:
        if not self._newest_first:
            return list(self._kept.values())

        return sorted(self._kept.values(), key=lambda k: (k.get(by, ""), k.serial), reverse=True)


def _later(last: str | None, at: str) -> str:
    """Return the time of a change, which differs from that of the record's last change."""
    if last is None or at > last:
        return at

    return iso(datetime.fromisoformat(last) + timedelta(milliseconds=1))
