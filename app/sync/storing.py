"""Store a page: its rows, what is set aside, and the changes, in the caller's one transaction.

The caller holds the cursor, so nobody else writes this resource of this connection meanwhile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    and_,
    delete,
    false,
    insert,
    select,
    tuple_,
    update,
)
from sqlalchemy import Connection as Database

from app.katana.fields import Unreadable
from app.sync import record_parts
from app.sync.copy import Record
from app.sync.feed import Changes, Happened
from app.sync.models import ChangeKind
from app.sync.resources import Owner, Read, Resource
from app.sync.set_aside import Aside, name_of

AHEAD = timedelta(days=1)  # a record from further in the future cannot be right
SWEPT_AT_ONCE = 1000

Key = tuple[int, ...]
Row = RowMapping


@dataclass(frozen=True)
class Parsed:
    """A page: what can be stored, by key; what cannot, by name, with the reason."""

    good: Mapping[Key, Read]
    bad: Mapping[str, str]
    #: The latest `updated_at` of the good ones.
    highest: datetime | None


class Storing:
    """Writes the copy."""

    def __init__(self, changes: Changes, aside: Aside) -> None:
        self._changes = changes
        self._aside = aside

    def store(
        self,
        database: Database,
        owner: Owner,
        resource: Resource,
        page: Parsed,
        asked: Sequence[int] = (),
    ) -> None:
        """Store a page. `asked` are ids asked for by name: one that is missing is gone."""
        happened = self._upsert(database, owner, resource, page.good)
        _meet(database, owner, resource, page.bad)
        well = {str(key[0]) for key in page.good} | set(map(str, asked))
        self._aside.keep(database, owner, well, page.bad)
        self._changes.append(database, owner.connection_id, happened)

    def sweep(self, database: Database, owner: Owner, resource: Resource) -> bool:
        """Delete rows that no pass since `owner.mark` has met; whether there may be more."""
        model = resource.model
        old = and_(model.connection_id == owner.connection_id, model.mark < owner.mark)
        is_told = model.deleted_at.is_not(None) if issubclass(model, Record) else false()
        found = select(is_told, *_key(resource)).where(old).limit(SWEPT_AT_ONCE)
        rows = {tuple(key): told for told, *key in database.execute(found)}
        keys: list[Key] = list(rows)
        database.execute(delete(model).where(_are(owner, resource, keys)))
        record_parts.delete_of(database, owner, resource, keys)
        self._aside.sweep(database, owner)
        gone = [_happened(resource, ChangeKind.DELETED, key) for key in keys if not rows[key]]
        self._changes.append(database, owner.connection_id, gone)
        return len(keys) == SWEPT_AT_ONCE

    def _upsert(
        self, database: Database, owner: Owner, resource: Resource, good: Mapping[Key, Read]
    ) -> list[Happened]:
        table = resource.model.metadata.tables[resource.model.__tablename__]
        found = database.execute(select(table).where(_are(owner, resource, list(good))))
        known = {tuple(row[name] for name in resource.key): row for row in found.mappings()}
        new = [read for key, read in good.items() if key not in known and not _is_gone(read)]
        # The dates of another account say nothing: what it has left is compared as a whole.
        earlier = [key for key, row in known.items() if row["mark"] < owner.shown_from]
        differ = record_parts.changed(database, owner, resource, [good[key] for key in earlier])
        changed = [
            read
            for key, read in good.items()
            if key in differ or (key in known and _is_news(resource, known[key], read, owner))
        ]
        whose = {"connection_id": owner.connection_id}
        if new:
            rows = [dict(zip(resource.key, r.key, strict=True)) | dict(r.columns) for r in new]
            database.execute(insert(table), [whose | {"mark": owner.mark} | row for row in rows])
        for read in changed:
            one = update(table).where(_are(owner, resource, [read.key]))
            database.execute(one.values(**read.columns))
        met = update(table).where(_are(owner, resource, list(known)), table.c.mark != owner.mark)
        database.execute(met.values(mark=owner.mark))
        record_parts.write(database, owner, resource, new, changed)
        kinds = [(_kind(known.get(read.key), read), read.key) for read in (*new, *changed)]
        return [_happened(resource, kind, key) for kind, key in kinds if kind]


def parsed(resource: Resource, records: Sequence[Any], at: datetime | None) -> Parsed:
    """What Katana answered at its moment `at`."""
    good: dict[Key, Read] = {}
    bad: dict[str, str] = {}
    for record in records:
        try:
            if not isinstance(record, dict):
                raise Unreadable("it is no object")
            read = resource.read(record)
            if resource.dated and at and read.columns["updated_at"] > at + AHEAD:
                raise Unreadable("updated_at lies in the future")
            good[read.key] = read
        except Unreadable as error:
            bad[name_of(record)] = str(error)
    dates = (read.columns["updated_at"] for read in good.values() if resource.dated)
    return Parsed(good, bad, max(dates, default=None))


def _meet(database: Database, owner: Owner, resource: Resource, bad: Mapping[str, str]) -> None:
    """What cannot be read is still at Katana: its row from before stays."""
    ids = [int(name) for name in bad if name.isdigit()]
    model = resource.model
    stays = and_(
        model.connection_id == owner.connection_id,
        model.mark >= owner.shown_from,
        _key(resource)[0].in_(ids),
    )
    if ids:
        database.execute(update(model).where(stays).values(mark=owner.mark))


def _is_news(resource: Resource, row: Row, read: Read, owner: Owner) -> bool:
    """Whether `read` replaces `row`: it is newer. An equal one is no change."""
    if resource.dated and row["mark"] >= owner.shown_from:
        newer: bool = read.columns["updated_at"] > row["updated_at"]
        return newer

    return any(row[name] != value for name, value in read.columns.items())


def _kind(row: Row | None, read: Read) -> ChangeKind | None:
    was_gone = row is None or row.get("deleted_at") is not None
    if _is_gone(read):
        return None if was_gone else ChangeKind.DELETED

    return ChangeKind.CREATED if was_gone else ChangeKind.UPDATED


def _is_gone(read: Read) -> bool:
    return read.columns.get("deleted_at") is not None


def _happened(resource: Resource, kind: ChangeKind, key: Key) -> Happened:
    return Happened(resource.name, kind, *key)


def _key(resource: Resource) -> list[ColumnElement[int]]:
    return [getattr(resource.model, name) for name in resource.key]


def _are(owner: Owner, resource: Resource, keys: Sequence[Key]) -> ColumnElement[bool]:
    columns = _key(resource)
    of_keys = (
        columns[0].in_([key[0] for key in keys])
        if len(columns) == 1
        else tuple_(*columns).in_(keys)
    )
    return and_(resource.model.connection_id == owner.connection_id, of_keys)
