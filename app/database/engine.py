"""Set-up of the engine (file permissions, dead sessions, SQLite), and ways to run statements."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection as Database
from sqlalchemy import Engine, Row, Select, event, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute

from app.database import pool


def prepare(engine: Engine) -> None:
    """Make `engine` replace dead sessions, and SQLite safe for several processes."""
    keep_private(engine)
    pool.end_useless_sessions(engine)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        pool.check_file(engine)
    else:
        pool.check_before_use(engine)


def keep_private(engine: Engine) -> None:
    """Let only the owner read a SQLite file that `engine` creates."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "do_connect", _make_private)


def single_statements(engine: Engine) -> Engine:
    """The same pool in autocommit mode: each statement is a transaction of its own."""
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def single_reads(engine: Engine) -> Engine:
    """The same for statements that only read.

    Faster on SQLite: its driver begins no transaction for a SELECT, and switching the mode of a
    connection takes longer than reading a row. Every use of a token is such a read.
    """
    return engine if engine.dialect.name == "sqlite" else single_statements(engine)


def insert_into(database: Database, table: type[Any]) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that supports ON CONFLICT. SQLAlchemy has a separate one for each database."""
    if database.dialect.name == "sqlite":
        return sqlite.insert(table)

    return postgresql.insert(table)


def batches(
    engine: Engine,
    rows: Select[*tuple[Any, ...]],
    key: Sequence[InstrumentedAttribute[Any]],
    size: int,
) -> Iterator[Sequence[Row[*tuple[Any, ...]]]]:
    """All `rows`, `size` at a time, in the order of `key`: selected columns, unique together.

    Keyset pagination: each batch is one statement, which starts after the key of the last row. No
    statement is open between two batches.
    """
    first = rows.order_by(*key).limit(size)
    batch = first
    while True:
        with engine.connect() as connection:
            found = connection.execute(batch).all()
        if not found:
            return

        yield found
        last = found[-1]._mapping
        batch = first.where(tuple_(*key) > tuple(last[column.key] for column in key))


def _make_private(_dialect: Any, _record: Any, path: list[Any], how: dict[str, Any]) -> None:
    """Create the file before SQLite does; SQLite gives its -wal and -shm files the same mode.

    An existing file must not be opened: closing it would release all locks of this process on it.
    """
    if path[0] == ":memory:" or how.get("uri"):
        return

    with suppress(OSError):  # it exists, or SQLite will report the error
        os.close(os.open(path[0], os.O_CREAT | os.O_EXCL, 0o600))


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # WAL: the writer does not block readers. FULL: the last commit survives a power cut, so that a
    # spent refresh token is not read again.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
