"""SQLite: a session that will not write again, or writes where nobody reads, is replaced."""

import sqlite3
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.connections import current
from app.database.db import db
from app.database.pool import is_useless
from tests.support.connected import Connected

pytestmark = [pytest.mark.one_database("sqlite"), pytest.mark.own_stage]


def file_of(app: Flask) -> Path:
    """The file of this app's database."""
    with app.app_context():
        assert db.engine.url.database
        return Path(db.engine.url.database)


def copy_of(file: Path) -> Path:
    """A whole copy of a database, as a backup makes it."""
    copy = file.with_name("copy.db")
    with sqlite3.connect(file) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    return copy


def put_back(copy: Path, file: Path) -> None:
    """Put a copy in the place of a database, without what belongs to the one before it."""
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    copy.replace(file)


def test_a_file_that_was_replaced_is_opened_anew(app: Flask, connected: Connected) -> None:
    """A1: a refreshed token is stored in the file that the path names, not in a deleted one.

    Of the same kind: a backup put back while the app runs, a volume mounted over the folder.
    """
    file = file_of(app)
    put_back(copy_of(file), file)
    connected.sandbox.expire(connected.family_id)
    with app.app_context():
        token = current().refresh.fresh_access_token(connected.id, None)
        token = current().refresh.fresh_access_token(connected.id, token)

    with sqlite3.connect(file) as reading:
        (renewals,) = reading.execute("SELECT renewals FROM connections").fetchone()
    assert renewals == 1
    assert connected.holds_the_living_token()


def test_while_there_is_no_file_nothing_is_taken(app: Flask, connected: Connected) -> None:
    """A1: a write that no file keeps must not count as stored; it goes on once the file is back."""
    file = file_of(app)
    copy = copy_of(file)
    file.unlink()

    with app.app_context():
        with pytest.raises(OperationalError), db.engine.begin() as session:
            session.execute(text("UPDATE connections SET renewals = 7"))
        assert not file.exists()

        put_back(copy, file)
        with db.engine.begin() as session:
            assert session.execute(text("UPDATE connections SET renewals = 7")).rowcount == 1


@pytest.mark.parametrize(
    ("trouble", "useless"), [("read only", True), ("no database", True), ("no table", False)]
)
def test_only_useless_sessions_are_ended(tmp_path: Path, trouble: str, useless: bool) -> None:
    """An error of a statement leaves its session as it is."""
    file = tmp_path / "some.db"
    sqlite3.connect(file).execute("CREATE TABLE t (n int)").connection.close()
    if trouble == "no database":
        file.write_bytes(b"something else " * 100)
    session = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    statement = "INSERT INTO nowhere" if trouble == "no table" else "INSERT INTO t"

    with pytest.raises(sqlite3.Error) as raised:
        session.execute(f"{statement} VALUES (1)")

    assert is_useless(raised.value) is useless
    session.close()
