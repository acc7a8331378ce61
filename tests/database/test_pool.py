"""A pooled connection to PostgreSQL: a dead one reaches nobody, and a living one is not asked."""

from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from app.database import pool
from app.database.db import db

pytestmark = pytest.mark.one_database("postgresql")

NEVER = 1_000_000.0  # seconds of rest

WORDS = text("SELECT 'the last words'")
PID = text("SELECT pg_backend_pid()")
LAST_STATEMENT = text("SELECT query FROM pg_stat_activity WHERE pid = :pid")
END = text("SELECT pg_terminate_backend(:pid, 10000)")  # milliseconds to wait for its end


@pytest.fixture
def operator(app: Flask) -> Iterator[Engine]:
    """The app's own engine: another way to the same server."""
    with app.app_context():
        yield db.engine


@pytest.fixture
def checked(operator: Engine) -> Iterator[Callable[[float], Engine]]:
    """Makes an engine with one pooled connection that is checked after so many seconds of rest."""
    made: list[Engine] = []

    def make(rest_seconds: float) -> Engine:
        engine = create_engine(operator.url, isolation_level="AUTOCOMMIT", pool_size=1)
        pool.check_before_use(engine, rest_seconds)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.dispose()


def used(engine: Engine) -> int:
    """The number of the server's process behind the pooled connection, which was just used."""
    with engine.connect() as connection:
        pid = connection.scalar(PID)
        connection.execute(WORDS)
    assert isinstance(pid, int)
    return pid


def ask(operator: Engine, question: object, **values: object) -> object:
    """What the server tells about another's connection."""
    with operator.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        return connection.scalar(question, values)  # type: ignore[call-overload]


@pytest.mark.parametrize("rest_seconds", [NEVER, 0.0], ids=["seen at its socket", "asked"])
def test_a_dead_connection_is_replaced_before_it_is_used(
    checked: Callable[[float], Engine], operator: Engine, rest_seconds: float
) -> None:
    """Who comes after a restart of the database sees no error, however short the rest was."""
    engine = checked(rest_seconds)
    dead = used(engine)
    assert ask(operator, END, pid=dead) is True

    with engine.connect() as connection:
        assert connection.scalar(PID) != dead


def test_a_living_connection_is_not_asked(
    checked: Callable[[float], Engine], operator: Engine
) -> None:
    """The way to the server is gone once, for the statement itself."""
    engine = checked(NEVER)
    pid = used(engine)

    with engine.connect():
        assert ask(operator, LAST_STATEMENT, pid=pid) == WORDS.text


def test_after_a_rest_the_server_is_asked(
    checked: Callable[[float], Engine], operator: Engine
) -> None:
    """A network that drops connections in silence closes no socket."""
    engine = checked(0.0)
    pid = used(engine)

    with engine.connect():
        assert ask(operator, LAST_STATEMENT, pid=pid) != WORDS.text


def test_what_a_server_says_unasked_ends_no_connection(
    checked: Callable[[float], Engine], operator: Engine
) -> None:
    """A notice is not a farewell."""
    engine = checked(NEVER)
    with engine.connect() as connection:
        connection.execute(text("LISTEN orders"))
    pid = used(engine)
    ask(operator, text("SELECT pg_notify('orders', '')"))

    with engine.connect() as connection:
        assert connection.scalar(PID) == pid


def test_the_app_checks(checked: Callable[[float], Engine], operator: Engine) -> None:
    """Its own engine is one of these."""
    dead = used(operator)
    assert ask(checked(NEVER), END, pid=dead) is True

    assert used(operator) != dead


#: Of a statement, or of this moment: another session would say the same.
OF_A_STATEMENT = ("23505", "40001", "40P01", "42P01", "53100", "53300", "55P03", "57014")


@pytest.mark.short_form(2)
@pytest.mark.parametrize("state", [*sorted(pool.USELESS), "08000", "08006", *OF_A_STATEMENT])
def test_every_useless_session_of_a_pool_is_replaced(app: Flask, state: str) -> None:
    """A1: the server itself reports this SQLSTATE; the next statement has a fresh session or not.

    Of the same kind: whatever else Appendix A says of a session and not of a statement.
    """
    report = text(f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{state}'; END $$")
    with app.app_context():
        with db.engine.connect() as idle, db.engine.connect() as reporting:
            pids = {idle.scalar(PID), reporting.scalar(PID)}
            with pytest.raises(DBAPIError):
                reporting.execute(report)
        with db.engine.connect() as one, db.engine.connect() as other:
            after = {one.scalar(PID), other.scalar(PID)}
        db.engine.dispose()

    assert (after & pids == pids) is (state in OF_A_STATEMENT)
    assert not after & pids or state in OF_A_STATEMENT
