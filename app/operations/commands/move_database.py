"""flask connections move: copy all rows to another database, and delete the tokens here.

If two databases hold the same refresh token, both send it. So writes are blocked here while rows
are copied, and the connections are deleted here as soon as the other database has them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click
from alembic.migration import MigrationContext
from flask.cli import with_appcontext
from sqlalchemy import Connection as Database
from sqlalchemy import Engine, Table, create_engine, delete, func, insert, select, text
from sqlalchemy.exc import SQLAlchemyError

from app import connections as parts
from app.connections.models import Connection
from app.database.clock import SystemClock
from app.database.db import Model, db
from app.database.engine import keep_private
from app.errors import ConfigurationError
from app.operations.commands import require_settings
from app.operations.commands.progress import progress
from app.settings import config, flask_config

BATCH = 500

NOTHING_MOVED = "The new database failed ({}): nothing was moved."
# If the response to a COMMIT is lost, it is unknown whether it was done.
NEW_IN_DOUBT = (
    "The new database failed at the very end ({}): it may hold the tokens too. Empty it before "
    "anything is started on it, and move again."
)
OLD_IN_DOUBT = (
    "This database failed at the very end ({}), and the new one holds everything. Where `flask "
    "connections list` shows none here, the move is complete. Else both hold the tokens: empty the "
    "new one before anything is started on it, and move again."
)


@click.command(cls=require_settings.DatabaseCommand)
@click.option(
    "--to",
    envvar="NEW_DATABASE_URL",
    prompt="The new DATABASE_URL",
    hide_input=True,
    help="The new DATABASE_URL. It is better set as NEW_DATABASE_URL, or typed when asked for: "
    "what stands in a command can be seen by others.",
)
@with_appcontext
def move(to: str) -> None:
    """Move all rows to an empty database, and forget the connections here.

    First stop every server and every `keep-alive`, and run `flask db upgrade` on the new database.
    Afterwards set DATABASE_URL to it everywhere. Where this fails, nothing is changed. Only where
    it is cut off at the very end may both databases hold the tokens: then empty the new one before
    anything is started on it, unless `flask connections list` shows none here any more.
    """
    _require_none_staged()
    with _engine_of(to) as new_engine, db.engine.connect() as old:
        _alone(old)
        _require_quiet(old)
        with _failing(NOTHING_MOVED), new_engine.connect() as new:
            _require_empty(new, _revision(old))
            moved = _copy(old, new)
            old.execute(delete(Connection))
            with _failing(NEW_IN_DOUBT):
                new.commit()
            with _failing(OLD_IN_DOUBT):
                old.commit()
    click.echo(
        f"Moved: {moved} rows. The connections are in the new database only: set DATABASE_URL to "
        "it on every host, and start."
    )


@contextmanager
def _failing(sentence: str) -> Iterator[None]:
    """If a database fails, end the command with this sentence and the class of the error."""
    try:
        yield
    except SQLAlchemyError as error:
        raise click.ClickException(sentence.format(type(error).__name__)) from None


@contextmanager
def _engine_of(to: str) -> Iterator[Engine]:
    try:
        new = flask_config.for_flask(config.with_database(require_settings.current(), to))
    except ConfigurationError as error:
        raise click.UsageError(error.faults[0]) from None
    engine = create_engine(new["SQLALCHEMY_DATABASE_URI"], **new["SQLALCHEMY_ENGINE_OPTIONS"])
    keep_private(engine)
    try:
        yield engine
    finally:
        engine.dispose()


def _alone(old: Database) -> None:
    """Block writes, not reads, until this transaction ends."""
    if old.dialect.name == "sqlite":
        old.exec_driver_sql("BEGIN IMMEDIATE")
        return

    old.execute(text("SET LOCAL statement_timeout = 0"))
    names = ", ".join(table.name for table in _tables())
    old.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))


def _require_none_staged() -> None:
    """Save the staged responses: their files belong to this database, not to the new one."""
    parts.current().refresh.store_staged()
    waiting = parts.current().staged.count()
    if waiting:
        raise click.ClickException(
            f"{waiting} token responses wait in instance/unsaved/ and could not be stored: the log "
            "says why. Nothing was moved."
        )


def _require_quiet(old: Database) -> None:
    at_work = select(func.count()).where(Connection.lease_until > SystemClock().database_time())
    if old.scalar(at_work):
        raise click.ClickException(
            "Somebody is renewing tokens here: stop every server and try again in a minute."
        )


def _require_empty(new: Database, revision: object) -> None:
    if _revision(new) != revision:
        raise click.ClickException(
            "The tables of the new database are not those of this one: run `flask db upgrade` "
            "with DATABASE_URL set to it."
        )
    for table in _tables():
        if new.execute(select(table).limit(1)).first():
            raise click.ClickException(f"The new database is not empty: {table.name} has rows.")


def _tables() -> Sequence[Table]:
    """All tables in the order of their foreign keys. All parts must have defined theirs before."""
    return Model.metadata.sorted_tables


def _revision(database: Database) -> object:
    return set(MigrationContext.configure(database).get_current_heads())


def _copy(old: Database, new: Database) -> int:
    if new.dialect.name == "postgresql":
        new.execute(text("SET LOCAL statement_timeout = 0"))
    moved = 0
    total = sum(old.scalar(select(func.count()).select_from(table)) or 0 for table in _tables())
    with progress("Moving", total) as done:
        for table in _tables():
            rows = old.execute(select(table), execution_options={"yield_per": BATCH}).mappings()
            for batch in rows.partitions():
                new.execute(insert(table), [dict(row) for row in batch])
                moved += len(batch)
                done(len(batch))
            _count_on(new, table)
    return moved


def _count_on(new: Database, table: Table) -> None:
    """Set PostgreSQL's sequence past the numbers that were copied."""
    number = table.autoincrement_column
    if new.dialect.name != "postgresql" or number is None:
        return

    sequence = func.pg_get_serial_sequence(table.name, number.name)
    last = select(func.max(number)).scalar_subquery()
    new.execute(select(func.setval(sequence, last)).where(last.is_not(None)))
