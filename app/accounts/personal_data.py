"""Exports all data about a user as JSON, and deletes it.

The rows are found by their foreign keys, so a table that is added later is exported too. Sealed
values and hashes are left out.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Engine,
    LargeBinary,
    Table,
    delete,
    false,
    or_,
    select,
    tuple_,
)

from app.accounts.models import RateLimit, User
from app.database.clock import SystemClock
from app.database.db import Model, db
from app.database.engine import single_reads

BATCH = 500  # rows that are in memory at once
ABOUT = (
    "Everything that this app keeps about you, by table. Left out are the keys to your Katana, "
    "which are encrypted, and what stands in place of passwords, sessions and forms as a hash."
)
#: Columns with a hash whose name does not end in `_hash`.
HASHES = frozenset({"connected_by"})
USERS: Table = User.__table__  # type: ignore[assignment]


def export(engine: Engine, user_id: int) -> Iterator[str]:
    """A JSON text with all rows of the user, by table, in pieces.

    No transaction is open between two pieces, because the client may read slowly. So a row that is
    written in the meantime may be in the text or not.
    """
    made_at = _read(engine, select(SystemClock().database_time()))[0][0]
    yield f'{{\n"about": {_json(ABOUT)},\n"made_at": {_json(made_at)}'
    for table in Model.metadata.sorted_tables:
        if table is USERS or table.foreign_keys:
            yield f",\n{_json(table.name)}: ["
            between = "\n"
            for batch in _batches(engine, table, user_id):
                for row in batch:
                    yield between + _json(row)
                    between = ",\n"
            yield "\n]"
    yield "\n}\n"


def erase(user_id: int) -> None:
    """Delete the user and all rows that refer to the user; the caller commits.

    The user's rate limit counters are deleted too, if they are in this database. In another store
    they expire within an hour.
    """
    email = db.session.scalar(select(User.email).where(User.id == user_id))
    for owner in (f"user-{user_id}", account_key(email or "")):
        its = RateLimit.key.contains(f"/{owner}/") | RateLimit.key.contains(f"/{owner}@")
        db.session.execute(delete(RateLimit).where(its))
    db.session.execute(delete(User).where(User.id == user_id))


def account_key(email: str) -> str:
    """The name of an account in the rate limits: a hash, which does not show the address."""
    return hashlib.sha256(email.encode()).hexdigest()[:32]


def is_shown(column: Column[Any]) -> bool:
    """Whether a column is exported: not if it is sealed or a hash."""
    sealed = isinstance(column.type, LargeBinary)
    return not sealed and not column.name.endswith("_hash") and column.name not in HASHES


def _batches(engine: Engine, table: Table, user_id: int) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The user's rows of a table in batches; each statement starts after the last row."""
    key = list(table.primary_key.columns)
    shown = [column for column in table.columns if is_shown(column)]
    names = [column.name for column in shown]
    rows = select(*key, *shown).where(_are_of(engine, table, user_id)).order_by(*key).limit(BATCH)
    behind = rows
    while found := _read(engine, behind):
        yield [dict(zip(names, row[len(key) :], strict=True)) for row in found]
        behind = rows.where(tuple_(*key) > tuple(found[-1][: len(key)]))


def _are_of(engine: Engine, table: Table, user_id: int) -> ColumnElement[bool]:
    """A condition for the user's rows, by the values of foreign keys, so that an index is used."""
    if table is USERS:
        return USERS.c.id == user_id

    return or_(
        false(),
        *(
            key.parent == value
            for key in table.foreign_keys
            for value in _values(engine, key.column, user_id)
        ),
    )


def _values(engine: Engine, column: Column[Any], user_id: int) -> list[Any]:
    """The values of `column` in the user's rows."""
    owned = _are_of(engine, column.table, user_id)
    return [row[0] for row in _read(engine, select(column).where(owned))]


def _read(engine: Engine, rows: Any) -> Sequence[Any]:
    with single_reads(engine).connect() as database:
        return database.execute(rows).all()


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=_text)


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
