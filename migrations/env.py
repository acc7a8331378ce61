"""Runs the migrations on the app's database for `flask db`, one process at a time."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from alembic import context
from alembic.util import CommandError
from flask import current_app
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

LOCK = 20261123  # our own number for an advisory lock; the process that migrates holds it
LOOK_EVERY_SECONDS = 0.2
SQLITE_WAIT_SECONDS = 600


def run_migrations() -> None:
    """Migrate a live database. Hosts that start at once wait for the first, then do nothing."""
    migrate = current_app.extensions["migrate"]
    options: dict[str, Any] = migrate.configure_args
    with _alone(migrate.db.engine) as connection:
        context.configure(
            connection=connection,
            target_metadata=migrate.db.metadata,
            transaction_per_migration=True,
            **options,
        )
        with context.begin_transaction():
            context.run_migrations()


def _alone(engine: Engine) -> AbstractContextManager[Connection]:
    return _alone_on_sqlite(engine) if engine.dialect.name == "sqlite" else _alone_on_server(engine)


@contextmanager
def _alone_on_sqlite(engine: Engine) -> Iterator[Connection]:
    """All migrations in one transaction that blocks other writers: all are done, or none.

    To change a table, SQLite copies it and drops the old one. With foreign keys on, dropping
    `users` would delete every connection.
    """
    with engine.connect() as connection:
        connection.detach()  # it has its own settings, so it must not return to the pool
        connection.connection.dbapi_connection.isolation_level = None  # type: ignore[union-attr]
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {SQLITE_WAIT_SECONDS * 1000}")
        connection.commit()
        with connection.begin():
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            if connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                raise RuntimeError("The migration has left rows that refer to nothing.")


@contextmanager
def _alone_on_server(engine: Engine) -> Iterator[Connection]:
    """Each migration in its own transaction, while another connection holds the lock.

    The lock ends with the transaction of that connection, also behind a pooler. It is polled: a
    statement that waits for the lock could block the creation of an index.
    """
    with engine.connect() as lock, engine.connect() as connection:
        while not lock.scalar(text("SELECT pg_try_advisory_xact_lock(:n)"), {"n": LOCK}):
            lock.rollback()
            time.sleep(LOOK_EVERY_SECONDS)
        lock.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        # The app's statement timeout is short; creating an index on a large table takes longer.
        connection.execute(text("SET statement_timeout = 0"))
        connection.commit()
        try:
            yield connection
        finally:
            connection.invalidate()  # it has its own settings, so it must not return to the pool


try:
    run_migrations()
except OperationalError as error:  # not reachable, full, read-only: `flask db` prints one sentence
    kind = type(error.orig).__name__
    raise CommandError(f"The database failed ({kind}): `flask doctor` tells more.") from error
