"""Everything that is kept about a user, as JSON, and its deletion.

Which rows are a user's is read from the foreign keys, so a table that is added later is in the
file too. No key to anything is in it: no sealed value and no hash.
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
#: Hashes by another name than `..._hash`.
HASHES = frozenset({"connected_by"})
USERS: Table = User.__table__  # type: ignore[assignment]


def export(engine: Engine, user_id: int) -> Iterator[str]:
    """The pieces of a JSON text with all rows of the user, by table.

    No transaction is open between two pieces: whoever reads them may be slow. So a row that is
    written meanwhile may be in the text or not.
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
    """Delete the user, and with them all rows that hang on them; the caller commits.

    The counters of their tries go too, where they are in this database. In another store they end
    within an hour.
    """
    email = db.session.scalar(select(User.email).where(User.id == user_id))
    for owner in (f"user-{user_id}", account_key(email or "")):
        its = RateLimit.key.contains(f"/{owner}/") | RateLimit.key.contains(f"/{owner}@")
        db.session.execute(delete(RateLimit).where(its))
    db.session.execute(delete(User).where(User.id == user_id))


def account_key(email: str) -> str:
    """What an account is called in the limits: they need not tell who has one."""
    return hashlib.sha256(email.encode()).hexdigest()[:32]


def is_shown(column: Column[Any]) -> bool:
    """Whether a column is in the file: not what is sealed, and no hash."""
    sealed = isinstance(column.type, LargeBinary)
    return not sealed and not column.name.endswith("_hash") and column.name not in HASHES


def _batches(engine: Engine, table: Table, user_id: int) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The user's rows of a table, each batch a statement that begins behind the last row."""
    key = list(table.primary_key.columns)
    shown = [column for column in table.columns if is_shown(column)]
    names = [column.name for column in shown]
    rows = select(*key, *shown).where(_are_of(engine, table, user_id)).order_by(*key).limit(BATCH)
    behind = rows
    while found := _read(engine, behind):
        yield [dict(zip(names, row[len(key) :], strict=True)) for row in found]
        behind = rows.where(tuple_(*key) > tuple(found[-1][: len(key)]))


def _are_of(engine: Engine, table: Table, user_id: int) -> ColumnElement[bool]:
    """Rows of the user: by the values of their foreign keys, so that an index is used."""
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
    """The values of a key in the user's rows."""
    owned = _are_of(engine, column.table, user_id)
    return [row[0] for row in _read(engine, select(column).where(owned))]


def _read(engine: Engine, rows: Any) -> Sequence[Any]:
    with single_reads(engine).connect() as database:
        return database.execute(rows).all()


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=_text)


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
