"""Runs the migrations on the database of the app, by `flask db`: one process at a time."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from alembic import context
from alembic.util import CommandError
from flask import current_app
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

LOCK = 20261123  # a number of our own; whoever migrates this database holds it
LOOK_EVERY_SECONDS = 0.2
SQLITE_WAIT_SECONDS = 600


def run_migrations() -> None:
    """On a live database. Hosts that start at once wait for the first, and find its work done."""
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
    """All in one transaction that lets no other writer in: all of it is done, or nothing.

    A change of a table copies it and drops the old one. With foreign keys on, dropping `users`
    would take every connection along.
    """
    with engine.connect() as connection:
        connection.detach()  # how it is set up here is for no one else
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
    """Each migration in a transaction of its own, while another connection holds the lock.

    That one's transaction ends with it, also behind a pooler. It is asked for again and again
    and not waited for: whoever waits in a statement can hold up an index that is made meanwhile.
    """
    with engine.connect() as lock, engine.connect() as connection:
        while not lock.scalar(text("SELECT pg_try_advisory_xact_lock(:n)"), {"n": LOCK}):
            lock.rollback()
            time.sleep(LOOK_EVERY_SECONDS)
        lock.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        # The app's statements are short; an index on a large table takes its time.
        connection.execute(text("SET statement_timeout = 0"))
        connection.commit()
        try:
            yield connection
        finally:
            connection.invalidate()  # how it is set up here is for no one else


try:
    run_migrations()
except OperationalError as error:  # away, full, read-only: `flask db` prints one sentence
    kind = type(error.orig).__name__
    raise CommandError(f"The database failed ({kind}): `flask doctor` tells more.") from error
