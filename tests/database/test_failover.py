"""PostgreSQL fails over: old sessions only read, new ones write; nothing needs a restart."""

import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app import create_app
from app.database.db import db
from app.database.pool import is_useless
from tests.support.actors import Maker
from tests.support.postgres import Postgres, running_replica
from tests.support.servers import MAKE_SERVE, Served, gunicorn
from tests.support.until import until

pytestmark = pytest.mark.one_database("postgresql")


@pytest.fixture
def database_url(server: Postgres) -> str:
    """An empty database, for `make serve` to migrate."""
    return server.create("app")


@pytest.fixture
def served(environ: dict[str, str], listener: socket.socket, tmp_path: Path) -> Iterator[Served]:
    """The app by its production command."""
    with gunicorn(environ, listener, tmp_path / "served.log", command=MAKE_SERVE) as served:
        yield served


@pytest.mark.slow
def test_sessions_that_only_read_are_replaced(
    served: Served, served_maker: Maker, server: Postgres
) -> None:
    """A1: idle sessions stay at a server that only reads; new ones reach one that writes.

    Of the same kind: a session that was terminated by an administrator or a time-out, a server that
    is shutting down or in recovery, a plan or a statement that is no longer valid, a torn-down TLS.
    """
    served_maker.sign_up()
    served_maker.connect()
    for _ in range(8):
        served_maker.get("/sign-in")  # both workers have sessions in their pools

    server.only_new_sessions_write("app")

    # A worker may meet one session that it used a moment ago; it is replaced by that.
    answers = [served_maker.get("/readyz").status for _ in range(20)]
    assert answers[-10:] == [200] * 10
    served_maker.sandbox.expire()
    pages = [served_maker.dashboard().status for _ in range(4)]
    assert pages[-2:] == [200] * 2
    assert served_maker.disconnect().status == 200


@pytest.mark.slow
def test_readiness_asks_whether_it_can_write(
    served: Served, served_maker: Maker, server: Postgres
) -> None:
    """A1: a server that only reads cannot save a token: no balancer should send users there."""
    assert served_maker.get("/readyz").status == 200

    server.only_read()

    until(lambda: served_maker.get("/readyz").status == 503)
    assert served_maker.get("/healthz").status == 200


ERRORS = {
    "SELECT pg_terminate_backend(pg_backend_pid())": True,
    "BEGIN READ ONLY; INSERT INTO t VALUES (1)": True,
    "SELECT 1/0": False,
    "INSERT INTO nowhere VALUES (1)": False,
    "SELECT pg_sleep(5)": False,  # statement time-out: the session is good
}


@pytest.mark.short_form(1)
@pytest.mark.parametrize("statement", ERRORS)
def test_only_useless_sessions_are_ended(server: Postgres, statement: str) -> None:
    """An error of a statement leaves its session, and the pool, as they are."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as session:
        session.execute("CREATE TABLE IF NOT EXISTS t (n int)")
        session.execute("SET statement_timeout = 50")
        with pytest.raises(psycopg.Error) as raised:
            session.execute(statement)  # type: ignore[call-overload]

    assert is_useless(raised.value) is ERRORS[statement]


@pytest.mark.slow
def test_several_hosts_and_a_promotion(environ: dict[str, str], server: Postgres) -> None:
    """A1: DATABASE_URL names two servers; once the second is promoted, new sessions find it."""
    with running_replica(server) as replica:
        hosts = f"{server.host},{replica.host}"
        url = f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write"
        app = create_app({**environ, "DATABASE_URL": url})
        with app.app_context():
            writes(app, "CREATE TABLE t (n int)")
            writes(app, "INSERT INTO t VALUES (1)")
            until(lambda: replica.has_table("t"))

            server.stop()
            replica.promote()

            until(lambda: writes(app, "INSERT INTO t VALUES (2)"))
            with db.engine.connect() as session:
                assert session.scalar(text("SELECT count(*) FROM t")) == 2
            db.engine.dispose()
        server.start()


def writes(app: Flask, statement: str) -> bool:
    """Whether the database took the statement."""
    with app.app_context():
        try:
            with db.engine.begin() as session:
                session.execute(text(statement))
        except DBAPIError:
            return False
    return True
