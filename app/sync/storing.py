"""Store a page in the caller's transaction: rows, records set aside, and changes.

The caller holds the cursor's lease, so no other worker writes this resource of this connection.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Table,
    and_,
    delete,
    false,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from app.sync import feed, set_aside
from app.sync.copy import Record
from app.sync.feed import ChangeKind, Happened
from app.sync.resources import Key, Parsed, Read, Resource, Scope

SWEPT_AT_ONCE = 1000
KEPT_SECONDS = 30 * 24 * 3600.0  # how long a record that Katana has marked as deleted is kept


def store(scope: Scope, page: Parsed, asked: Sequence[int] = ()) -> None:
    """Store a page. `asked` are the ids that were requested: one that is missing was deleted."""
    happened = _upsert(scope, page.good)
    _meet(scope, page.bad)
    well = {str(key[0]) for key in page.good} | set(map(str, asked))
    set_aside.keep(scope, well, page.bad)
    feed.append(scope.database, scope.clock, scope.connection_id, happened)


def sweep(scope: Scope) -> bool:
    """Delete rows that no pass since `scope.mark` has read; True if there may be more.

    Also delete records that Katana marked as deleted more than 30 days ago. A later pass does not
    add them again.
    """
    model = scope.resource.model
    told: ColumnElement[bool] = false()
    old = model.mark < scope.mark
    if issubclass(model, Record):
        told = model.deleted_at.is_not(None)
        old = or_(old, model.deleted_at < scope.clock.database_time(-KEPT_SECONDS))
    found = select(told, *_key(scope.resource)).where(model.connection_id == scope.connection_id)
    rows = scope.database.execute(found.where(old).limit(SWEPT_AT_ONCE))
    is_told: dict[Key, bool] = {tuple(key): told for told, *key in rows}
    scope.database.execute(delete(model).where(_are(scope, is_told)))
    _delete_parts(scope, is_told)
    set_aside.sweep(scope)
    gone = [_happened(scope, ChangeKind.DELETED, key) for key in is_told if not is_told[key]]
    feed.append(scope.database, scope.clock, scope.connection_id, gone)
    return len(is_told) == SWEPT_AT_ONCE


def _upsert(scope: Scope, good: Mapping[Key, Read]) -> list[Happened]:
    resource = scope.resource
    table = _table(resource.model)
    found = scope.database.execute(select(table).where(_are(scope, good)))
    known = {tuple(row[name] for name in resource.key): row for row in found.mappings()}
    new = [read for key, read in good.items() if key not in known and not read.is_gone]
    # `updated_at` of an earlier account cannot be compared, so columns and parts are compared.
    earlier = [good[key] for key, row in known.items() if row["mark"] < scope.shown_from]
    differ = _with_other_parts(scope, earlier)
    changed = [
        read
        for key, read in good.items()
        if key in differ or (key in known and _is_news(scope, known[key], read))
    ]
    if new:
        whose = {"connection_id": scope.connection_id, "mark": scope.mark}
        keys = [dict(zip(resource.key, read.key, strict=True)) for read in new]
        rows = [whose | key | dict(read.columns) for key, read in zip(keys, new, strict=True)]
        scope.database.execute(insert(table), rows)
    for read in changed:
        one = update(table).where(_are(scope, [read.key]))
        scope.database.execute(one.values(**read.columns))
    met = update(table).where(_are(scope, known), table.c.mark != scope.mark)
    scope.database.execute(met.values(mark=scope.mark))
    _delete_parts(scope, [read.key for read in changed])
    _insert_parts(scope, [*new, *changed])
    kinds = [(_kind(known.get(read.key), read), read.key) for read in (*new, *changed)]
    return [_happened(scope, kind, key) for kind, key in kinds if kind]


def _meet(scope: Scope, bad: Mapping[str, str]) -> None:
    """Keep the rows of records that cannot be read: the records still exist at Katana."""
    ids = [int(name) for name in bad if name.isdigit()]
    model = scope.resource.model
    stays = and_(
        model.connection_id == scope.connection_id,
        model.mark >= scope.shown_from,
        _key(scope.resource)[0].in_(ids),
    )
    if ids:
        scope.database.execute(update(model).where(stays).values(mark=scope.mark))


def _is_news(scope: Scope, row: RowMapping, read: Read) -> bool:
    """Whether `read` is newer than `row`; without a usable `updated_at`, whether it differs."""
    if scope.resource.dated and row["mark"] >= scope.shown_from:
        newer: bool = read.columns["updated_at"] > row["updated_at"]
        return newer

    return any(row[name] != value for name, value in read.columns.items())


def _kind(row: RowMapping | None, read: Read) -> ChangeKind | None:
    was_gone = row is None or row.get("deleted_at") is not None
    if read.is_gone:
        return None if was_gone else ChangeKind.DELETED

    return ChangeKind.CREATED if was_gone else ChangeKind.UPDATED


def _happened(scope: Scope, kind: ChangeKind, key: Key) -> Happened:
    return Happened(scope.resource.name, kind, *key)


def _with_other_parts(scope: Scope, reads: Sequence[Read]) -> set[Key]:
    """The keys of the reads whose parts differ from the stored ones."""
    if scope.resource.parts is None or not reads:
        return set()

    model, parent = scope.resource.parts
    these = _are_parts(scope, [read.key for read in reads])
    stored: dict[Key, dict[int, Any]] = {}
    for row in scope.database.execute(select(_table(model)).where(these)).mappings():
        stored.setdefault((row[parent],), {})[row["id"]] = dict(row)
    return {read.key for read in reads if stored.get(read.key, {}) != _parts(scope, read)}


def _insert_parts(scope: Scope, reads: Sequence[Read]) -> None:
    rows = [row for read in reads for row in _parts(scope, read).values()]
    if scope.resource.parts and rows:
        scope.database.execute(insert(_table(scope.resource.parts[0])), rows)


def _delete_parts(scope: Scope, keys: Collection[Key]) -> None:
    if scope.resource.parts and keys:
        these = _are_parts(scope, keys)
        scope.database.execute(delete(_table(scope.resource.parts[0])).where(these))


def _parts(scope: Scope, read: Read) -> dict[int, Mapping[str, Any]]:
    """The parts of a record by id, such as the rows of an order."""
    if scope.resource.parts is None:
        return {}

    whose = {"connection_id": scope.connection_id, scope.resource.parts[1]: read.key[0]}
    return {part["id"]: whose | dict(part) for part in read.parts}


def _are_parts(scope: Scope, keys: Iterable[Key]) -> ColumnElement[bool]:
    assert scope.resource.parts  # noqa: S101  every caller has checked this
    table, parent = _table(scope.resource.parts[0]), scope.resource.parts[1]
    ids = [key[0] for key in keys]
    return and_(table.c.connection_id == scope.connection_id, table.c[parent].in_(ids))


def _are(scope: Scope, keys: Iterable[Key]) -> ColumnElement[bool]:
    columns = _key(scope.resource)
    one = len(columns) == 1
    these = columns[0].in_([key[0] for key in keys]) if one else tuple_(*columns).in_(list(keys))
    return and_(scope.resource.model.connection_id == scope.connection_id, these)


def _key(resource: Resource) -> list[ColumnElement[int]]:
    return [getattr(resource.model, name) for name in resource.key]


def _table(model: Any) -> Table:
    table: Table = model.__table__
    return table
