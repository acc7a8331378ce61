"""Migrations: they make what the models say, can be taken back, and go by their names."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import flask_migrate
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import (
    Column,
    Engine,
    MetaData,
    Table,
    delete,
    insert,
    inspect,
    literal_column,
    select,
)
from sqlalchemy.exc import DatabaseError, IntegrityError

from app.accounts.models import User
from app.connections.models import Connection, ConnectionEvent
from app.database.db import Model, db
from app.settings.config import ROOT

pytestmark = pytest.mark.own_stage

FOLDER = ROOT / "migrations"
NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def engine(app: Flask) -> Iterator[Engine]:
    """A database at head, and the app at work on it."""
    with app.app_context():
        yield db.engine


def tables(engine: Engine) -> dict[str, Any]:
    """Everything that the database knows of its tables, in an order of our own."""
    seen = inspect(engine)
    return {
        table: {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"], column["default"])
                for column in seen.get_columns(table)
            },
            "key": seen.get_pk_constraint(table),
            "references": sorted(map(str, seen.get_foreign_keys(table))),
            "unique": sorted(map(str, seen.get_unique_constraints(table))),
            "indexes": sorted(map(_told, seen.get_indexes(table))),
            "checks": {
                check["name"]: check["sqltext"] for check in seen.get_check_constraints(table)
            },
        }
        for table in seen.get_table_names()
        if table != "alembic_version"
    }


def _told(index: Any) -> str:
    """An index in words; SQLite's driver gives the condition of one as an object."""
    options = {name: str(value) for name, value in index.pop("dialect_options", {}).items()}
    return str(index | options)


@pytest.mark.both_databases
def test_a_new_migration_would_be_empty(engine: Engine) -> None:
    """`flask db migrate` finds nothing: whoever changes a model has written the migration."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})

        assert compare_metadata(context, Model.metadata) == []


@pytest.mark.both_databases
def test_the_migrations_make_what_the_models_say(engine: Engine) -> None:
    """Tables made by the migrations and by the models are alike, checks and names included."""
    migrated = tables(engine)
    flask_migrate.downgrade(directory=str(FOLDER), revision="base")
    db.create_all()

    assert tables(engine) == migrated


@pytest.mark.both_databases
def test_every_migration_can_be_taken_back(engine: Engine) -> None:
    """To the beginning and to head again: nothing is left behind, nothing is missing."""
    migrated = tables(engine)

    flask_migrate.downgrade(directory=str(FOLDER), revision="base")
    assert tables(engine) == {}

    flask_migrate.upgrade(directory=str(FOLDER))
    assert tables(engine) == migrated


HOSTS = 3
MIGRATING = """
import flask_migrate
from app import create_app
with create_app().app_context():
    print("ready", flush=True)
    input()
    flask_migrate.upgrade()
"""


@pytest.mark.slow
def test_hosts_that_start_at_once_migrate_once(engine: Engine, environ: dict[str, str]) -> None:
    """One does it, the others wait for it and find it done; none fails."""
    migrated = tables(engine)
    flask_migrate.downgrade(directory=str(FOLDER), revision="base")
    hosts = [
        subprocess.Popen(
            (sys.executable, "-c", MIGRATING),
            cwd=ROOT,
            env=os.environ | environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(HOSTS)
    ]
    for host in hosts:
        assert host.stdout
        assert host.stdout.readline() == "ready\n"
    for host in hosts:
        assert host.stdin
        host.stdin.write("\n")
        host.stdin.flush()

    said = [host.communicate()[0] for host in hosts]

    assert [host.returncode for host in hosts] == [0] * HOSTS, "\n".join(said)
    assert tables(engine) == migrated


NEXT = f"""
import sqlalchemy as sa
from alembic import op

revision = "20991231_next"
down_revision = {ScriptDirectory(str(FOLDER)).get_current_head()!r}


def upgrade() -> None:
    op.add_column("connections", sa.Column("colour", sa.String(20)))
    with op.batch_alter_table("users") as users:
        users.alter_column("email", existing_type=sa.String(254), type_=sa.String(300))
"""


@pytest.fixture
def next_migrations(tmp_path: Path) -> Path:
    """The migrations, and one more that a fork could write: it changes the users' table."""
    folder = shutil.copytree(FOLDER, tmp_path / "migrations")
    (folder / "versions" / "20991231_next.py").write_text(NEXT)
    return folder


@pytest.mark.both_databases
def test_changing_a_table_loses_no_connection(engine: Engine, next_migrations: Path) -> None:
    """SQLite copies a table and drops the old one: what refers to it stays, and is still held."""
    user_id = add_user()
    add(Connection, user_id=user_id, **CONNECTION)

    flask_migrate.upgrade(directory=str(next_migrations))

    assert db.session.scalars(select(Connection.user_id)).all() == [user_id]
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        add(Connection, user_id=404, **CONNECTION)


@pytest.mark.both_databases
def test_a_migration_that_fails_leaves_nothing_half_done(
    engine: Engine, next_migrations: Path
) -> None:
    """All of a migration is done, or nothing of it; the mended one then goes through."""
    script = next_migrations / "versions" / "20991231_next.py"
    script.write_text(NEXT + "    op.drop_table('nowhere')\n")
    migrated = tables(engine)

    with pytest.raises((SystemExit, DatabaseError)):  # by a sentence where the database failed
        flask_migrate.upgrade(directory=str(next_migrations))

    assert tables(engine) == migrated
    script.write_text(NEXT)
    flask_migrate.upgrade(directory=str(next_migrations))
    assert "colour" in tables(engine)["connections"]["columns"]


@pytest.mark.parametrize("path", sorted((FOLDER / "versions").glob("*.py")), ids=lambda p: p.stem)
def test_a_migration_goes_by_its_date_and_subject(path: Path) -> None:
    """The file is named YYYYMMDD_subject.py, and its revision is that name."""
    named = re.fullmatch(r"(\d{8})_[a-z0-9_]+", path.stem)
    revisions = {script.revision for script in ScriptDirectory(str(FOLDER)).walk_revisions()}

    assert named, f"Name {path.name} YYYYMMDD_subject.py."
    assert datetime.strptime(named[1], "%Y%m%d").replace(tzinfo=UTC)
    assert path.stem in revisions, f"Write revision = {path.stem!r} in {path.name}."


def test_there_is_one_head() -> None:
    """Two heads cannot be upgraded to: merge them, or put one after the other."""
    assert len(ScriptDirectory(str(FOLDER)).get_heads()) == 1


CONNECTION = {
    "status": "active",
    "connected_by": "0" * 64,
    "connected_at": NOW,
    "sealed_access_token": b"sealed",
    "sealed_refresh_token": b"sealed",
    "expires_at": NOW,
    "renew_at": NOW,
    "refreshed_at": NOW,
    "generation": 1,
}
EVENT = {"connection_id": uuid4(), "kind": "connected", "at": NOW}


def add_user(email: str = "ada@workshop.test") -> int:
    """The id of a new user."""
    user = User(email=email, password_hash="", created_at=NOW)
    db.session.add(user)
    db.session.commit()
    return user.id


def add(model: type[Model], **values: object) -> None:
    """Store a row as it is given, whatever Python's types say of it."""
    columns = {name: _unchecked(value) for name, value in values.items()}
    db.session.execute(insert(model).values(**columns))
    db.session.commit()


def _unchecked(value: object) -> object:
    return literal_column(f"'{value}'") if isinstance(value, str) else value


@pytest.mark.both_databases
@pytest.mark.usefixtures("engine")
def test_a_sound_connection_is_taken() -> None:
    """What is changed in one place below is good as it stands."""
    user_id = add_user()

    add(Connection, user_id=user_id, **CONNECTION)
    add(ConnectionEvent, user_id=user_id, **EVENT)


@pytest.mark.both_databases
@pytest.mark.parametrize(
    ("changed", "constraint"),
    [
        ({"reason": "grant_ended"}, "reason_when_needed"),
        ({"status": "reconnect_needed"}, "reason_when_needed"),
        ({"status": "refreshing", "reason": "grant_ended"}, "status"),
        ({"status": "reconnect_needed", "reason": "boredom"}, "reason"),
        ({"lease_owner": "somebody"}, "lease_whole"),
        ({"lease_until": NOW}, "lease_whole"),
        ({"generation": 0}, "generation_counts"),
        ({"generation": 2, "parent_generation": 2}, "generation_grows"),
    ],
)
@pytest.mark.usefixtures("engine")
def test_a_connection_that_cannot_be_is_refused(changed: dict[str, Any], constraint: str) -> None:
    """Each invariant is a constraint of the database: no code, and no hand, gets past it."""
    user_id = add_user()

    with pytest.raises(IntegrityError, match=rf"\bck_connections_{constraint}\b"):
        add(Connection, user_id=user_id, **CONNECTION | changed)


@pytest.mark.usefixtures("engine")
def test_an_event_of_another_kind_is_refused() -> None:
    """The history tells of what the code knows, and of nothing else."""
    user_id = add_user()

    with pytest.raises(IntegrityError, match=r"\bck_connection_events_eventkind\b"):
        add(ConnectionEvent, user_id=user_id, **EVENT | {"kind": "repaired"})


@pytest.mark.both_databases
@pytest.mark.usefixtures("engine")
def test_a_user_has_one_connection() -> None:
    """S-46: whatever races, the second connection of a user is refused."""
    user_id = add_user()
    add(Connection, user_id=user_id, **CONNECTION)

    with pytest.raises(IntegrityError, match=r"connections.user_id|uq_connections_user_id"):
        add(Connection, user_id=user_id, **CONNECTION)


@pytest.mark.both_databases
@pytest.mark.usefixtures("engine")
def test_an_address_has_one_account() -> None:
    """Whatever races, the second account for an address is refused."""
    add_user()

    with pytest.raises(IntegrityError, match=r"users.email|uq_users_email"):
        add_user()


@pytest.mark.both_databases
@pytest.mark.usefixtures("engine")
def test_an_error_of_the_database_tells_no_value() -> None:
    """S-37: such errors are logged, and the values are tokens, addresses and hashes."""
    told_of = CONNECTION | {"user_id": add_user(), "sealed_access_token": b"canary"}
    add(Connection, **told_of)

    with pytest.raises(IntegrityError) as told:
        add(Connection, **told_of)

    assert "INSERT INTO connections" in str(told.value)
    assert "canary" not in str(told.value)


@pytest.mark.both_databases
@pytest.mark.usefixtures("engine")
def test_nobody_elses_connection_can_be() -> None:
    """A connection belongs to a user who is there."""
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        add(Connection, user_id=404, **CONNECTION)


@pytest.mark.both_databases
@pytest.mark.usefixtures("engine")
def test_what_a_user_has_goes_with_the_user() -> None:
    """S-49: deleting a user deletes their connection and its history, and nobody else's."""
    ada, ben = add_user(), add_user("ben@workshop.test")
    for user_id in (ada, ben):
        add(Connection, user_id=user_id, **CONNECTION)
        add(ConnectionEvent, user_id=user_id, **EVENT)

    db.session.execute(delete(User).where(User.id == ada))
    db.session.commit()

    assert db.session.scalars(select(Connection.user_id)).all() == [ben]
    assert db.session.scalars(select(ConnectionEvent.user_id)).all() == [ben]


@pytest.mark.both_databases
@pytest.mark.usefixtures("engine")
def test_listed_renewals_are_carried_over_into_the_count() -> None:
    """Those since the last connect are counted, and leave the history; what failed stays."""
    user_id = add_user()
    flask_migrate.downgrade(directory=str(FOLDER), revision="20261125_overdue_index")
    connection_id = uuid4()
    values = OLD | CONNECTION | {"id": connection_id, "user_id": user_id}
    db.session.execute(insert(table_before()).values(**values))
    db.session.commit()
    kinds = ["connected", "refreshed", "refreshed", "refresh_failed", "connected", "refreshed"]
    for kind in [*kinds, "refreshed", "refreshed"]:
        add(ConnectionEvent, user_id=user_id, connection_id=connection_id, kind=kind, at=NOW)
    add_another = uuid4()
    add(ConnectionEvent, user_id=user_id, connection_id=add_another, kind="refreshed", at=NOW)

    flask_migrate.upgrade(directory=str(FOLDER))

    assert db.session.scalars(select(Connection.renewals)).all() == [3]
    left = db.session.scalars(select(ConnectionEvent.kind).order_by(ConnectionEvent.id)).all()
    assert left == ["connected", "refresh_failed", "connected"]


@pytest.mark.both_databases
@pytest.mark.usefixtures("engine")
def test_a_process_of_the_version_before_goes_on_writing() -> None:
    """During a rolling restart: it names none of the new columns."""
    values = OLD | CONNECTION | {"id": uuid4(), "user_id": add_user()}

    db.session.execute(insert(table_before()).values(**values))
    db.session.commit()

    assert db.session.scalars(select(Connection.renewals)).all() == [0]


def table_before() -> Table:
    """The connections' table as the version before knows it."""
    new = {"renewals", "failing_since"}
    columns = [c for c in Connection.__table__.c if c.name not in new]
    return Table("connections", MetaData(), *(Column(c.name, c.type) for c in columns))


OLD = {"fence": 0, "written_fence": 0, "failures": 0}
