"""The database goes away in mid-refresh (R-5): the answer waits in memory until it is back."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.connections.leases import Held, Lease, Leases
from app.db import db, single_statements
from app.models import EventKind
from tests.clocks import HeldClock
from tests.connected import Connected, Parts, refresh
from tests.sandbox import Sandbox


class Unplugged(HeldClock):
    """Held time, in which something is put right after so many waits."""

    waits = 3
    put_right: Callable[[], object]

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if len(self.slept) == self.waits:
            self.put_right()


class CutLeases(Leases):
    """The real statements; `cut` happens right before the first save, or right after it."""

    cut: Callable[[], object]
    after = False
    done = False

    def save(self, lease: Lease, held: Held, columns: Mapping[str, Any], **how: Any) -> bool:
        if self.done:
            return super().save(lease, held, columns, **how)

        self.done = True
        if not self.after:
            self.cut()
            return super().save(lease, held, columns, **how)

        assert super().save(lease, held, columns, **how)
        self.cut()
        raise OperationalError("UPDATE", {}, Exception("committed, and its answer lost"))


@pytest.fixture
def clock() -> Unplugged:
    return Unplugged()


@pytest.fixture
def connected(app: Flask, sandbox: Sandbox, environ: dict[str, str], clock: Unplugged) -> Connected:
    connected = Connected(app, sandbox, environ, clock=clock)
    clock.move(61)
    return connected


@pytest.fixture
def parts(connected: Connected) -> Parts:
    return connected.parts(CutLeases)


def execute(connected: Connected, *statements: str) -> None:
    """Run statements on a connection of its own, which is not one of the pool's."""
    with connected.app.app_context():
        engine = single_statements(db.engine)
        with engine.connect() as connection:
            connection.detach()
            for statement in statements:
                connection.execute(text(statement))


@pytest.mark.one_database("postgresql")
@pytest.mark.parametrize("after", [False, True], ids=["before COMMIT", "after COMMIT"])
def test_connections_cut_at_the_save_cost_no_token(
    connected: Connected, parts: Parts, after: bool
) -> None:
    """All connections are ended by the server; the save goes on on a new one, and counts once."""
    others = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    cut = f"SELECT pg_terminate_backend(pid) FROM ({others} AND pid <> pg_backend_pid()) AS them"
    assert isinstance(parts.leases, CutLeases)
    parts.leases.cut = lambda: execute(connected, cut)
    parts.leases.after = after

    refresh(parts).fresh_access_token(connected.id)

    assert connected.holds_the_living_token()
    assert connected.refreshes() == 1
    assert connected.row().generation == 2
    assert connected.history()[-1] == (EventKind.REFRESHED, None)


@pytest.mark.one_database("sqlite")
def test_a_full_disk_costs_no_token(connected: Connected, parts: Parts, clock: Unplugged) -> None:
    """The database takes nothing more until there is room again; then the answer is saved."""
    assert isinstance(parts.leases, CutLeases)
    engine = parts.leases._engine

    def fill() -> None:
        with engine.connect() as connection:
            connection.execute(text("CREATE TABLE ballast (weight BLOB)"))
            pages = connection.scalar(text("PRAGMA page_count"))
            connection.execute(text(f"PRAGMA max_page_count = {pages}"))
            with pytest.raises(OperationalError, match="full"):
                connection.execute(text("INSERT INTO ballast VALUES (zeroblob(1000000))"))
            # Every page is taken, so that no row can grow.
            connection.execute(text("PRAGMA query_only = ON"))

    def make_room() -> None:
        with engine.connect() as connection:
            connection.execute(text("PRAGMA query_only = OFF"))
            connection.execute(text("PRAGMA max_page_count = 1000000"))

    parts.leases.cut = fill
    clock.put_right = make_room

    refresh(parts).fresh_access_token(connected.id)

    assert len(clock.slept) == clock.waits
    assert connected.holds_the_living_token()


def test_a_database_that_cannot_be_written_spends_no_token(
    connected: Connected, parts: Parts, database_url: str
) -> None:
    """R-0.2: the claim fails before Katana is asked."""
    read_only = {
        "sqlite": "PRAGMA query_only = ON",
        "postgresql": "SET default_transaction_read_only = on",
    }[database_url.split(":")[0].split("+")[0]]
    with parts.leases._engine.connect() as connection:
        connection.execute(text(read_only))

    with pytest.raises(Exception, match=r"readonly|read-only"):
        refresh(parts).fresh_access_token(connected.id)

    assert connected.refreshes() == 0


def test_history_that_cannot_be_written_costs_nothing(connected: Connected) -> None:
    """The tokens are safe before anything is said of it."""

    class Silent(Leases):
        def record(self, lease: Lease, kind: EventKind, detail: str | None = None) -> None:
            with self._engine.connect() as connection:
                connection.execute(text("INSERT INTO nowhere VALUES (1)"))

    refresh(connected.parts(Silent)).fresh_access_token(connected.id)

    assert connected.holds_the_living_token()
