"""New databases with the app's tables, and many rows quickly."""

import base64
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

import flask_migrate
import psycopg
from flask import Flask
from psycopg import sql
from sqlalchemy import (
    CTE,
    Engine,
    Float,
    FromClause,
    Integer,
    Table,
    cast,
    func,
    insert,
    literal,
    select,
    text,
)
from sqlalchemy.engine import make_url

from app import connections, create_app
from app.accounts.models import User
from app.connections import sealed_grant
from app.connections.models import Connection, Status
from app.database.clock import DatabaseTime
from app.database.db import db
from app.settings.config import ROOT

MONTH_SECONDS = 30 * 24 * 3600
SCATTER = 1021  # a prime: the times of neighbouring rows differ widely
TOKEN_CHARACTERS = 128


QUICKLY = {
    "sqlite": ("PRAGMA synchronous = OFF", "PRAGMA cache_size = -400000"),
    # All referenced rows exist: foreign keys need not be checked a million times.
    "postgresql": (
        "SET session_replication_role = replica",
        "SET statement_timeout = 0",
        "SET maintenance_work_mem = '256MB'",
    ),
}


@dataclass(frozen=True)
class Databases:
    """Creates databases: SQLite's in a folder, PostgreSQL's on a server."""

    folder: Path
    postgres_url: str

    def create(self, engine: str, name: str) -> str:
        """The URL of a new database without tables."""
        if engine == "sqlite":
            return f"sqlite:///{self.folder / name}.db"

        with psycopg.connect(self.postgres_url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        url = make_url(self.postgres_url).set(database=name)
        return url.render_as_string(hide_password=False)

    def drop(self, engine: str, name: str) -> None:
        """Delete it."""
        if engine == "sqlite":
            for path in self.folder.glob(f"{name}.db*"):
                path.unlink()
            return

        with psycopg.connect(self.postgres_url, autocommit=True) as connection:
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(name)))

    @contextmanager
    def app(
        self, engine: str, name: str, settings: Mapping[str, str] | None = None
    ) -> Iterator[Flask]:
        """The app in its context, with its own new database that is deleted at the end."""
        app = migrated(environ(self.create(engine, name)) | (settings or {}))
        with app.app_context():
            try:
                yield app
            finally:
                db.session.remove()
                db.engine.dispose()
                self.drop(engine, name)


def migrated(settings: Mapping[str, str]) -> Flask:
    """The app, with all tables in the database."""
    app = create_app(settings)
    with app.app_context():
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
    return app


def environ(database_url: str) -> dict[str, str]:
    """All required settings, with new secrets."""
    key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return {
        "SECRET_KEY": secrets.token_hex(32),
        "TOKEN_ENCRYPTION_KEYS": f"bench:{key}",
        "KATANA_CLIENT_ID": "bench",
        "KATANA_CLIENT_SECRET": secrets.token_hex(32),
        "KATANA_REDIRECT_URI": "http://localhost:8000/katana/callback",
        "DATABASE_URL": database_url,
        "LOG_LEVEL": "WARNING",
    }


def with_driver(database_url: str) -> str:
    """The URL with psycopg 3 as its driver, which is not SQLAlchemy's default."""
    return database_url.replace("postgresql://", "postgresql+psycopg://", 1)


def token(name: str) -> str:
    """A token of the usual length, with `name` at its start."""
    return f"{name}-".ljust(TOKEN_CHARACTERS, "x")


def store(engine: Engine, tokens: Mapping[int, tuple[str, str]], *, life: float) -> None:
    """Connect users: for each number an access and a refresh token, valid for `life` seconds.

    Each was last refreshed a month before its access token expires.
    """
    vault, now = connections.current().vault, datetime.now(UTC)
    end = now + timedelta(seconds=life)
    rows = []
    for number, (access, refresh) in tokens.items():
        connection_id = id_of(number)
        rows.append(
            {
                "id": connection_id,
                "user_id": number,
                "status": Status.ACTIVE,
                "connected_by": "",
                "connected_at": now,
                "sealed_access_token": vault.seal(
                    access, sealed_grant.access_token_aad(connection_id, number)
                ),
                "sealed_refresh_token": vault.seal(
                    refresh, sealed_grant.refresh_token_aad(connection_id, number)
                ),
                "expires_at": end,
                "renew_at": end,
                "refreshed_at": end - timedelta(seconds=MONTH_SECONDS),
                "generation": 1,
            }
        )
    with engine.begin() as connection:
        connection.execute(insert(User), [_user(number, now) for number in tokens])
        connection.execute(insert(Connection), rows)


@cache
def id_of(number: int) -> UUID:
    """The id of a user's connection; a page knows it from its own query."""
    return uuid5(NAMESPACE_OID, str(number))


def fill(engine: Engine, first: int, last: int) -> None:
    """Connect the users with these numbers. All have the same sealed tokens, which do not open."""
    vault = connections.current().vault
    place = sealed_grant.access_token_aad(uuid4(), 0)
    sealed = vault.seal(token("filler"), place)
    number = numbers(first, last)
    ago = DatabaseTime(cast(-(number.c.n * SCATTER % MONTH_SECONDS), Float))
    now = datetime.now(UTC)
    values = {
        "id": _random_uuid(engine),
        "user_id": number.c.n,
        "status": Status.ACTIVE,
        "connected_by": "",
        "connected_at": now,
        "sealed_access_token": sealed,
        "sealed_refresh_token": sealed,
        "expires_at": now,
        "renew_at": now,
        "refreshed_at": ago,
        "generation": 1,
        "fence": 0,
        "written_fence": 0,
        "failures": 0,
    }
    users = {
        "id": number.c.n,
        "email": literal("filler") + cast(number.c.n, User.email.type),
        "password_hash": "",
        "created_at": now,
    }
    fill_table(engine, User.__table__, users, number)
    fill_table(engine, Connection.__table__, values, number)


def fill_table(engine: Engine, table: Any, values: Mapping[str, Any], rows: FromClause) -> None:
    """Insert one row for each of `rows`, in one statement. Plain values are the same in each."""
    assert isinstance(table, Table)
    columns = [
        value if hasattr(value, "self_group") else literal(value, table.c[name].type)
        for name, value in values.items()
    ]
    selected = select(*columns).select_from(rows)
    with engine.connect() as connection:
        for setting in QUICKLY[engine.dialect.name]:
            connection.execute(text(setting))
        # Creating an index afterwards is much faster than updating it for each row.
        for index in table.indexes:
            index.drop(connection)
        connection.execute(
            insert(table).from_select(list(values), selected, include_defaults=False)
        )
        for index in table.indexes:
            index.create(connection)
        connection.commit()
        connection.invalidate()  # the connection's settings must not return to the pool


def settle(engine: Engine) -> None:
    """Run the database's maintenance now, which it would otherwise start during the measurement."""
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("VACUUM ANALYZE"))
            connection.execute(text("CHECKPOINT"))
            connection.invalidate()
        else:
            connection.execute(text("ANALYZE"))
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))


def numbers(first: int, last: int) -> CTE:
    """The numbers from `first` to `last`, as a table with the column `n`."""
    begin = select(literal(first, Integer).label("n")).cte("numbers", recursive=True)
    return begin.union_all(select(begin.c.n + 1).where(begin.c.n < last))


def _random_uuid(engine: Engine) -> Any:
    if engine.dialect.name == "postgresql":
        return func.gen_random_uuid()
    return func.lower(func.hex(func.randomblob(16)))


def _user(number: int, now: datetime) -> dict[str, Any]:
    email = f"maker{number}@workshop.example"
    return {"id": number, "email": email, "password_hash": "", "created_at": now}
