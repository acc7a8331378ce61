"""flask connections move: from one database to another, and never alive in both."""

import os
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from stat import S_IMODE

import pytest
from flask import Flask
from sqlalchemy import event, select, text, update
from sqlalchemy.exc import OperationalError

from app import connections
from app.connections.models import Connection
from app.database.db import Model, db
from app.errors import NotConnected
from tests.conftest import MakeApp
from tests.support.clocks import HeldClock
from tests.support.commands import run
from tests.support.connected import Connected
from tests.support.crowds import crowd
from tests.support.postgres import Postgres
from tests.support.sandbox import Sandbox
from tests.support.staging import die_with_a_response
from tests.support.until import until

pytestmark = pytest.mark.own_stage

CROWD = 1200  # more than one batch


@pytest.fixture
def elsewhere(request: pytest.FixtureRequest, migrated_postgres: str, postgres: Postgres) -> str:
    """The URL of an empty PostgreSQL database with every table."""
    return postgres.create(f"new_{secrets.token_hex(6)}", migrated_postgres)


def contents(app: Flask) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, as Python sees it."""
    with app.app_context(), db.engine.connect() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in Model.metadata.sorted_tables
        }


def move(app: Flask, url: str) -> tuple[int, str]:
    """The status of the move, and what it says."""
    told = run(app, "connections", "move", "--to", url)
    return told.status, told.output


@pytest.mark.both_databases
def test_all_is_there_and_goes_on(
    app: Flask, new_app: MakeApp, elsewhere: str, sandbox: Sandbox, environ: dict[str, str]
) -> None:
    """Every row is the same there, tokens open and renew there, and new rows get new numbers."""
    ada = Connected(app, sandbox, environ)
    crowd(app, ada.vault, CROWD)
    before = contents(app)

    status, said = move(app, elsewhere)

    assert status == 0, said
    there = new_app(DATABASE_URL=elsewhere)
    assert contents(there) == before
    ada.app = there
    ada.expire()
    with there.app_context():
        connections.current().refresh.fresh_access_token(ada.id)
    assert ada.holds_the_living_token()
    Connected(there, sandbox, environ, "bea")


def test_the_old_database_has_no_token_left(
    app: Flask, elsewhere: str, sandbox: Sandbox, environ: dict[str, str]
) -> None:
    """Whoever goes on with it sends nothing: two that hold one token would spend it twice."""
    ada = Connected(app, sandbox, environ)
    move(app, elsewhere)

    with app.app_context(), pytest.raises(NotConnected):
        connections.current().refresh.fresh_access_token(ada.id)
    told = run(app, "connections", "keep-alive", "--idle-days", "0")

    assert "Nothing was idle" in told.output
    assert ada.refreshes() == 0


@pytest.mark.short_form(2)
@pytest.mark.both_databases
@pytest.mark.parametrize(
    "trouble", ["not empty", "not migrated", "away", "renewing", "no URL", "half a URL"]
)
def test_where_it_fails_nothing_is_changed(
    app: Flask,
    new_app: MakeApp,
    elsewhere: str,
    postgres: Postgres,
    sandbox: Sandbox,
    environ: dict[str, str],
    trouble: str,
) -> None:
    """It says why in a sentence; both databases are as they were."""
    ada = Connected(app, sandbox, environ)
    there = new_app(DATABASE_URL=elsewhere)
    url, says = elsewhere, ""
    match trouble:
        case "not empty":
            Connected(there, sandbox, environ, "bea")
            says = "is not empty"
        case "not migrated":
            url, says = postgres.create(f"bare_{secrets.token_hex(6)}"), "flask db upgrade"
        case "away":
            url, says = "postgresql://someone:secret-4711@127.0.0.1:9/x", "The new database failed"
        case "renewing":
            ada.change(lease_owner="somebody", lease_until=30)
            says = "stop every server"
        case "no URL":
            url, says = "mysql://somewhere", "must begin with"
        case "half a URL":
            url, says = "postgresql://app:p@ss:secret-4711@db/x", "write % as %25, @ as %40"
    before = contents(app), contents(there)

    status, said = move(app, url)

    assert status == (2 if trouble.endswith("URL") else 1)
    assert says in said
    assert "4711" not in said
    assert (contents(app), contents(there)) == before


def test_it_does_not_leave_a_staged_response_behind(
    app: Flask, elsewhere: str, new_app: MakeApp, sandbox: Sandbox, environ: dict[str, str]
) -> None:
    """A token that waits in a file is stored before the move; one that cannot be stops it."""
    clock = HeldClock()
    ada = Connected(app, sandbox, environ, clock=clock)
    with app.app_context():
        staged = connections.current().staged
    die_with_a_response(ada, clock, staged)
    damaged = staged.path("damaged", 1)
    damaged.write_text("{")

    status, said = move(app, elsewhere)
    assert (status, staged.count()) == (1, 1)
    assert "1 token responses wait" in said

    damaged.unlink()
    assert move(app, elsewhere)[0] == 0
    ada.app = new_app(DATABASE_URL=elsewhere)
    assert ada.holds_the_living_token()


#: What ends the session in the midst of its COMMIT, so that no answer comes.
ENDS_AT_COMMIT = """
    CREATE FUNCTION ends() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER ends AFTER INSERT ON connections DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION ends()
"""


def test_where_the_new_database_does_not_answer_at_the_end_it_says_what_may_be(
    app: Flask, new_app: MakeApp, elsewhere: str, sandbox: Sandbox, environ: dict[str, str]
) -> None:
    """Nobody knows whether the tokens are there too; here they all are."""
    Connected(app, sandbox, environ)
    with new_app(DATABASE_URL=elsewhere).app_context(), db.engine.begin() as new:
        new.exec_driver_sql(ENDS_AT_COMMIT)
    before = contents(app)

    status, said = move(app, elsewhere)

    assert status == 1
    assert "OperationalError" in said
    assert "it may hold the tokens too" in said
    assert "nothing was moved" not in said
    assert contents(app) == before


def test_where_this_database_fails_at_the_end_it_says_that_both_may_hold_the_tokens(
    app: Flask, new_app: MakeApp, elsewhere: str, sandbox: Sandbox, environ: dict[str, str]
) -> None:
    """The other one has them all by then, and only a look tells whether this one has them too."""
    Connected(app, sandbox, environ)
    before = contents(app)

    def fail(_: object) -> None:
        raise OperationalError("COMMIT", None, Exception())

    with app.app_context():
        event.listen(db.engine, "commit", fail)
    status, said = move(app, elsewhere)
    with app.app_context():
        db.engine.dispose()  # as when the command's process ends

    assert status == 1
    assert "OperationalError" in said
    assert "flask connections list" in said
    assert contents(app) == contents(new_app(DATABASE_URL=elsewhere)) == before


WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


@pytest.mark.both_databases
def test_nobody_writes_while_rows_are_copied(
    app: Flask, new_app: MakeApp, elsewhere: str, sandbox: Sandbox, environ: dict[str, str]
) -> None:
    """No claim can come in between, so no token is sent that is being moved."""
    Connected(app, sandbox, environ)
    there = new_app(DATABASE_URL=elsewhere)
    with there.app_context(), db.engine.connect() as holding, ThreadPoolExecutor(1) as thread:
        holding.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
        moving = thread.submit(move, app, elsewhere)
        until(lambda: holding.scalar(text(WAITING)))
        with app.app_context(), db.engine.connect() as old:
            impatient = {"sqlite": "PRAGMA busy_timeout = 1", "postgresql": "SET lock_timeout = 1"}
            old.execute(text(impatient[old.dialect.name]))
            with pytest.raises(OperationalError, match="lock"):
                old.execute(update(Connection).values(fence=7))
            old.invalidate()
        holding.rollback()
        status, said = moving.result()

    assert status == 0, said


def test_a_file_that_it_asks_to_prepare_is_its_owners_alone(
    app: Flask, connected: Connected, tmp_path: Path
) -> None:
    """S-79: looking whether it is empty has made the file, before any migration could."""
    new = tmp_path / "new.db"
    before = os.umask(0)
    try:
        status, said = move(app, f"sqlite:///{new}")
    finally:
        os.umask(before)

    assert status != 0, said
    assert S_IMODE(new.stat().st_mode) == 0o600


@pytest.mark.both_databases
@pytest.mark.one_database("postgresql")
def test_it_moves_back_to_a_file(
    app: Flask,
    new_app: MakeApp,
    migrated_sqlite: Path,
    sandbox: Sandbox,
    environ: dict[str, str],
    tmp_path: Path,
) -> None:
    """From PostgreSQL to SQLite is the same way."""
    ada = Connected(app, sandbox, environ)
    before = contents(app)
    url = f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'back.db')}"

    status, said = move(app, url)

    assert status == 0, said
    ada.app = new_app(DATABASE_URL=url)
    assert contents(ada.app) == before
    ada.expire()
    with ada.app.app_context():
        connections.current().refresh.fresh_access_token(ada.id)
    assert ada.holds_the_living_token()
