"""The database goes away in mid-refresh (R-5): the answer waits in memory until it is back."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, text, update
from sqlalchemy.exc import DBAPIError, OperationalError

from app.connections.leases import Lease, Leases
from app.connections.models import Connection
from app.connections.sealed_grant import SealedGrant, usable_seconds
from app.database.db import db
from app.database.engine import single_statements
from tests.support.clocks import HeldClock
from tests.support.connected import Connected, MakeConnected, Parts, refresh
from tests.support.until import until

pytestmark = pytest.mark.own_stage


class Unplugged(HeldClock):
    """Held time, in which something is put right after so many waits."""

    waits = 3
    put_right: Callable[[], object] = staticmethod(lambda: None)

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if len(self.slept) == self.waits:
            self.put_right()


class CutLeases(Leases):
    """The real statements; `cut` happens right before the first save, or right after it."""

    cut: Callable[[], object]
    after = False
    done = False

    def save(self, lease: Lease, sealed: SealedGrant, **how: Any) -> bool:
        if self.done:
            return super().save(lease, sealed, **how)

        self.done = True
        if not self.after:
            self.cut()
            return super().save(lease, sealed, **how)

        assert super().save(lease, sealed, **how)
        self.cut()
        raise OperationalError("UPDATE", {}, Exception("committed, and its answer lost"))


@pytest.fixture
def clock() -> Unplugged:
    return Unplugged()


@pytest.fixture
def connected(new_connected: MakeConnected, clock: Unplugged) -> Connected:
    connected = new_connected()
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


def make_read_only(parts: Parts) -> Callable[[], None]:
    """Let no connection take writes, however new, until what this returns is called."""
    read_only = {
        "sqlite": "PRAGMA query_only = ON",
        "postgresql": "SET default_transaction_read_only = on",
    }
    engine = parts.leases._engine
    over: list[bool] = []

    def prepare(connection: Any, _entry: object) -> None:
        if not over:
            connection.execute(read_only[engine.dialect.name])
            connection.commit()

    event.listen(engine.pool, "connect", prepare)
    engine.dispose()
    return lambda: over.append(True)


@pytest.mark.one_database("postgresql")
@pytest.mark.parametrize("after", [False, True], ids=["before COMMIT", "after COMMIT"])
def test_connections_cut_at_the_save_cost_no_token(
    connected: Connected, parts: Parts, after: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """All connections are ended by the server; the save goes on on a new one, and counts once."""
    others = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    cut = f"SELECT pg_terminate_backend(pid) FROM ({others} AND pid <> pg_backend_pid()) AS them"
    assert isinstance(parts.leases, CutLeases)
    parts.leases.cut = lambda: execute(connected, cut)
    parts.leases.after = after

    caplog.set_level(logging.INFO, "app")
    refresh(parts).fresh_access_token(connected.id)

    assert connected.holds_the_living_token()
    assert connected.refreshes() == 1
    assert connected.row().generation == 2
    assert connected.row().renewals == 1
    assert caplog.text.count("refreshed in") == 1  # told, although its commit was not answered
    assert connected.row().sent_at is None  # nothing is in doubt: what is stored is what came


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
        clock.put_right = make_read_only(parts)

    parts.leases.cut = fill

    refresh(parts).fresh_access_token(connected.id)

    assert len(clock.slept) == clock.waits
    assert connected.holds_the_living_token()


def test_a_database_that_cannot_be_written_spends_no_token(
    connected: Connected, parts: Parts
) -> None:
    """R-0.2: the claim fails before Katana is asked."""
    make_read_only(parts)

    with pytest.raises(Exception, match=r"readonly|read-only"):
        refresh(parts).fresh_access_token(connected.id)

    assert connected.refreshes() == 0


def test_a_database_that_cannot_be_written_goes_unnoticed_while_the_token_lives(
    connected: Connected, parts: Parts, clock: Unplugged
) -> None:
    """Renewing ahead of the end is for later: where it fails, today's token is given."""
    connected.change(expires_at=5)
    token = connected.stored_access_token()
    make_read_only(parts)

    assert refresh(parts).fresh_access_token(connected.id) == token
    assert connected.refreshes() == 0

    clock.move(10)
    with pytest.raises(DBAPIError):
        refresh(parts).fresh_access_token(connected.id)


def test_a_token_that_is_saved_late_lives_no_longer_for_it(
    connected: Connected, clock: Unplugged
) -> None:
    """I-9: its life counts from Katana's answer, however long the database was away since."""
    answered = clock.moment

    class Away(Leases):
        def save(self, *saved: Any, **how: Any) -> bool:
            if len(clock.slept) < 5:
                raise OperationalError("UPDATE", {}, Exception("away"))
            return super().save(*saved, **how)

    refresh(connected.parts(Away)).fresh_access_token(connected.id)

    life = (connected.row().expires_at - answered).total_seconds()
    assert clock.moment - answered > timedelta(seconds=0.1)
    assert life == pytest.approx(usable_seconds(60), abs=0.01)


def test_a_save_that_counted_is_not_taken_for_the_grant_that_came_after_it(
    connected: Connected, parts: Parts
) -> None:
    """R-14: the commit's answer is lost, the user reconnects: the new grant's token is given."""
    assert isinstance(parts.leases, CutLeases)
    parts.leases.after = True
    parts.leases.cut = connected.connect

    token = refresh(parts).fresh_access_token(connected.id)

    assert token == connected.stored_access_token()
    assert connected.row().parent_generation is None


@pytest.mark.one_database("postgresql")
@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_database_set_to_more_isolation_changes_nothing(connected: Connected, level: str) -> None:
    """R-21: who comes second to a row is told that it got no lease, and not by an error."""
    leases = connected.parts().leases
    seen = leases.read(connected.id)
    assert seen
    with connected.app.app_context():
        name = db.engine.url.database
        execute(connected, f"ALTER DATABASE {name} SET default_transaction_isolation TO '{level}'")
        db.engine.dispose()
        with db.engine.connect() as other, ThreadPoolExecutor(1) as pool:
            lease = {"lease_owner": "other", "lease_until": connected.clock.database_time(60)}
            other.execute(update(Connection).values(lease))
            claim = pool.submit(leases.claim, seen)
            waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            until(lambda: other.scalar(waiting))
            other.commit()

            assert claim.result() is None


@pytest.mark.one_database("postgresql")
def test_nothing_is_kept_in_a_session_of_the_database(connected: Connected) -> None:
    """R-21: a pooler may give each transaction another session: no prepared statement, no lock."""
    parts = connected.parts()
    for _ in range(10):
        connected.change(expires_at=-1, renew_at=-1)
        refresh(parts).fresh_access_token(connected.id)

    with parts.leases._engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 0
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        assert connection.scalar(text(locks)) == 0


def test_history_that_cannot_be_written_costs_nothing(connected: Connected) -> None:
    """The tokens are safe before anything is said of it."""

    parts = connected.parts()
    connected.change(doubtful_since=0)  # so that the history gets a row
    parts.leases._sql.record = text("INSERT INTO nowhere VALUES (1)")  # type: ignore[assignment]

    refresh(parts).fresh_access_token(connected.id)

    assert connected.holds_the_living_token()
