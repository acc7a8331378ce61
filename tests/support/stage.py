"""Servers that most tests of a process share in turn: Katana, a SQLite file, apps, gunicorn.

Each test finds them as if they were new. A test that stops, breaks or configures one of them uses
its own, by the mark `own_stage` or the fixture `listener`. So does a test that opens the database
file itself: closing it releases the locks that SQLite holds on it in this process.
"""

import socket
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

from flask import Flask

from app import create_app
from app.database.db import db
from tests.support.clocks import HeldClock
from tests.support.sandbox import Sandbox
from tests.support.servers import Served, gunicorn


class Stage:
    """Creates each part when a test first uses it."""

    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str],
        template: Path,
        listener: socket.socket,
        sandbox: Sandbox,
    ) -> None:
        self.environ = environ
        self.listener = listener
        self.clock = HeldClock()
        self._folder, self._template = folder, template
        self.sandbox = sandbox
        self._apps: dict[bool, Flask] = {}
        self._served: Served | None = None
        self._stack = ExitStack()

    def empty_database(self) -> str:
        """Reset each table to its state after the migrations, and return the database's URL.

        Uses statements, because a server may have the file open. It must not be replaced, or
        overwritten by SQLite's backup, which is not safe while other processes use it.
        """
        with self._database() as database:
            tables = _schema(database, "template")
            database.execute("BEGIN IMMEDIATE")
            for name in (name for name, sql in tables.items() if sql.startswith("CREATE TABLE")):
                database.execute(f'DELETE FROM main."{name}"')
                database.execute(f'INSERT INTO main."{name}" SELECT * FROM template."{name}"')
            database.execute("COMMIT")
        return self.environ["DATABASE_URL"]

    def assert_same_tables(self) -> None:
        """Fail in the test that has changed the tables, not in the following ones."""
        with self._database() as database:
            same = _schema(database, "main") == _schema(database, "template")
        assert same, "a test that changes the tables needs the mark own_stage"

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        path = self._folder / "app.db"
        with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as database:
            database.execute("PRAGMA synchronous = OFF")
            database.execute("ATTACH ? AS template", [str(self._template)])
            yield database

    def fresh_sandbox(self) -> Sandbox:
        """The sandbox, with nothing recorded."""
        self.sandbox.let_go()
        self.sandbox.reset()
        self.sandbox.secrets.clear()
        return self.sandbox

    def app(self, *, held: bool) -> Flask:
        """The app in this process. If `held`, it uses the clock of the stage."""
        if held not in self._apps:
            self._apps[held] = create_app(self.environ, self.clock if held else None)
        return self._apps[held]

    def served(self) -> Served:
        """The app under gunicorn, with a new log."""
        log_file = self._folder / "gunicorn.log"
        if self._served is None:
            server = gunicorn(self.environ, self.listener, log_file)
            self._served = self._stack.enter_context(server)
        return replace(self._served, log_from=log_file.stat().st_size)

    def close(self) -> None:
        """Stop all servers."""
        self._stack.close()
        for app in self._apps.values():
            with app.app_context():
                db.engine.dispose()


@contextmanager
def running_stage(
    folder: Path,
    environ: Mapping[str, str],
    template: Path,
    listener: socket.socket,
    sandbox: Sandbox,
) -> Iterator[Stage]:
    """A stage, closed at the end. The database is `app.db` in the folder, a copy of `template`."""
    stage = Stage(folder, environ, template, listener, sandbox)
    try:
        yield stage
    finally:
        stage.close()


def _schema(database: sqlite3.Connection, name: str) -> dict[str, str]:
    """The statements that created tables and indexes, except those of ANALYZE."""
    made = database.execute(f"SELECT name, coalesce(sql, '') FROM {name}.sqlite_master")
    return {name: sql for name, sql in made if not name.startswith("sqlite_stat")}
