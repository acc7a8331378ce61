"""The rows within a record, such as those of an order: stored and deleted with it."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, delete, insert, select
from sqlalchemy import Connection as Database

from app.sync.resources import Owner, Read, Resource

Key = tuple[int, ...]


def write(
    database: Database,
    owner: Owner,
    resource: Resource,
    new: Sequence[Read],
    changed: Sequence[Read],
) -> None:
    """Add the parts of new records, and write those of changed ones anew."""
    delete_of(database, owner, resource, [read.key for read in changed])
    if resource.parts is None:
        return

    table, parent = _table(resource)
    rows = [
        {"connection_id": owner.connection_id, parent: read.key[0], **part}
        for read in (*new, *changed)
        for part in _by_id(read.parts).values()
    ]
    if rows:
        database.execute(insert(table), rows)


def delete_of(database: Database, owner: Owner, resource: Resource, keys: Sequence[Key]) -> None:
    """Delete the parts of these records."""
    if resource.parts is not None and keys:
        table, _ = _table(resource)
        database.execute(delete(table).where(_of(owner, resource, keys)))


def changed(
    database: Database, owner: Owner, resource: Resource, reads: Sequence[Read]
) -> set[Key]:
    """The keys of those whose parts are not the stored ones."""
    if resource.parts is None or not reads:
        return set()

    table, parent = _table(resource)
    its = _of(owner, resource, [read.key for read in reads])
    stored = [dict(row) for row in database.execute(select(table).where(its)).mappings()]
    return {
        read.key
        for read in reads
        if _by_id([row for row in stored if row[parent] == read.key[0]])
        != _by_id(
            [{"connection_id": owner.connection_id, parent: read.key[0], **p} for p in read.parts]
        )
    }


def _by_id(rows: Sequence[Mapping[str, Any]]) -> dict[Any, Mapping[str, Any]]:
    return {row["id"]: row for row in rows}


def _of(owner: Owner, resource: Resource, keys: Sequence[Key]) -> ColumnElement[bool]:
    table, parent = _table(resource)
    ids = [key[0] for key in keys]
    return and_(table.c.connection_id == owner.connection_id, table.c[parent].in_(ids))


def _table(resource: Resource) -> tuple[Table, str]:
    assert resource.parts  # noqa: S101  asked by every caller
    model, parent = resource.parts
    return model.metadata.tables[model.__tablename__], parent
