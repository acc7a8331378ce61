"""The engine: its set-up (private files, dead sessions, SQLite), single statements, batches."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine, Row, Select, event, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from app.database import pool


def prepare(engine: Engine) -> None:
    """Let `engine` replace dead sessions, and on SQLite write safely beside other processes."""
    keep_private(engine)
    pool.end_useless_sessions(engine)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        pool.check_file(engine)
    else:
        pool.check_before_use(engine)


def keep_private(engine: Engine) -> None:
    """Let a SQLite file that `engine` makes be its owner's alone."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "do_connect", _make_private)


def single_statements(engine: Engine) -> Engine:
    """The same pool, each statement a committed transaction of its own: none can stay open."""
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def single_reads(engine: Engine) -> Engine:
    """The same for statements that only read, and so leave nothing to commit.

    Every use of a token is one of these. SQLite's driver begins no transaction for them, and to
    switch a connection there and back would take longer than to read the row.
    """
    return engine if engine.dialect.name == "sqlite" else single_statements(engine)


def batches(
    engine: Engine,
    rows: Select[*tuple[Any, ...]],
    key: Sequence[InstrumentedAttribute[Any]],
    size: int,
) -> Iterator[Sequence[Row[*tuple[Any, ...]]]]:
    """All `rows` in the order of `key`, unique columns that are among theirs, `size` at a time.

    A batch is read when it is asked for, from the key of the last row on (keyset pagination). No
    statement is open in between.
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
    """Make a new file before SQLite does, which gives those beside it (-wal, -shm) the same mode.

    One that exists is not even opened: to close it again would let go of all locks that this
    process has on it.
    """
    if path[0] == ":memory:" or how.get("uri"):
        return

    with suppress(OSError):  # it exists, or cannot be made, which SQLite then says itself
        os.close(os.open(path[0], os.O_CREAT | os.O_EXCL, 0o600))


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # WAL lets readers go on beside one writer; FULL keeps the last commit through a power cut,
    # without which a spent refresh token could come back from the dead.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
