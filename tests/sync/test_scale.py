"""What is asked often reads a batch at most, however many connections there are."""

from itertools import product

import pytest
from flask import Flask
from sqlalchemy import delete, func, select, text, update

from app.connections.models import Connection, Reason, Status
from app.database.db import db
from app.sync import accounts
from app.sync.models import SyncAccount, SyncCursor, Webhook
from benchmarks import databases, fleet
from benchmarks.million import MOST_ROWS, SETTINGS, entries, plans_of
from tests.conftest import MakeApp
from tests.support.connected import MakeConnected
from tests.support.crowds import crowd
from tests.support.syncing import Syncing

SIZE = 3 * MOST_ROWS


@pytest.fixture
def large(new_app: MakeApp) -> Flask:
    """The app with so many connections that reading all of them shows.

    PostgreSQL is told that reading a whole table is dear, as it is with a million rows.
    """
    app = new_app(**SETTINGS)
    with app.app_context():
        fleet.fill(db.engine, 1, SIZE)
        with db.engine.begin() as database:
            name = database.scalar(text("SELECT quote_ident(current_database())"))
            database.exec_driver_sql(f"ALTER DATABASE {name} SET enable_seqscan = off")
        db.engine.dispose()
        databases.settle(db.engine)
    return app


@pytest.mark.both_databases
@pytest.mark.one_database("postgresql")
def test_no_statement_that_is_asked_often_reads_all_connections(large: Flask) -> None:
    """A scrape, a probe, a list's first page, each look of a worker, a page, a disconnect."""
    read = {
        (name, step.what): step.rows
        for name, work in entries(large, SIZE).items()
        for plan in plans_of(large, work)
        for step in plan.steps
    }

    assert len({name for name, _ in read}) >= 15
    too_many = {look: rows for look, rows in read.items() if rows > MOST_ROWS}
    assert not too_many, f"rows that one look at a table or an index reads: {too_many}"


LATER, TOO_FAR = 60.0, 30 * 24 * 3600.0
OVER = {-1.0, TOO_FAR, None}


@pytest.mark.both_databases
@pytest.mark.held_time
def test_what_is_due_is_found_wherever_its_moments_lie(
    new_connected: MakeConnected, app: Flask
) -> None:
    """A moment that lies too far ahead was written while the database's clock was wrong."""
    ada = Syncing(new_connected())
    moments = product((-1.0, LATER, TOO_FAR), (None, -1.0, LATER, TOO_FAR))
    found = {}
    for due_at, next_attempt_at in moments:
        with app.app_context():
            db.session.execute(update(SyncCursor).values(next_attempt_at=None))
            db.session.commit()
        ada.change_cursors(due_at=due_at)
        if next_attempt_at is not None:
            ada.change_cursors(next_attempt_at=next_attempt_at)
        found[due_at, next_attempt_at] = bool(ada.parts.cursors.due(9))

    assert found == {(due_at, next_at): {due_at, next_at} <= OVER for due_at, next_at in found}


@pytest.mark.held_time
def test_a_connection_whose_sync_has_not_begun_is_found(
    new_connected: MakeConnected, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the last hour at once, the others in turn, and again in the next turn."""
    monkeypatch.setattr(accounts, "IN_TURN", 3)
    old = set(crowd(app, new_connected("bea").vault, 7))
    late = new_connected("ada").id
    with app.app_context():
        db.session.execute(delete(SyncAccount).where(SyncAccount.connection_id == late))
        db.session.commit()
    its = app.extensions["sync"].accounts

    looks = [set(its.unknown(9)) for _ in range(8)]

    assert all(late in look for look in looks)
    assert all(len(look) <= 4 for look in looks)
    assert set.union(*looks[:4]) == set.union(*looks[4:]) == old | {late}
    assert len(its.unknown(2)) == 2


@pytest.mark.held_time
def test_what_is_due_of_an_ended_connection_is_put_off_until_it_is_made_again(
    new_connected: MakeConnected, app: Flask
) -> None:
    """Else each look of a worker would pass over all of them. Others stay due."""
    ada, bea = Syncing(new_connected("ada")), Syncing(new_connected("bea"))
    ada.connected.change(status=Status.RECONNECT_NEEDED, reason=Reason.GRANT_ENDED)
    ada.pass_time(1)

    assert not ada.parts.accounts.put_off_ended()

    assert not due_now(app, ada)
    assert due_now(app, bea) == len(bea.parts.resources) + 1
    with app.app_context():
        ada.connected.reconnect()
    ada.pass_time(1)
    assert due_now(app, ada) == len(ada.parts.resources) + 1


@pytest.mark.one_database("postgresql")
def test_a_reconnect_under_way_is_not_put_off(new_connected: MakeConnected, app: Flask) -> None:
    """Its commit makes everything due, and nobody waits for it."""
    ada = Syncing(new_connected("ada"))
    ada.connected.change(status=Status.RECONNECT_NEEDED, reason=Reason.GRANT_ENDED)
    again = update(Connection).values(status=Status.ACTIVE, reason=None)
    with app.app_context(), db.engine.begin() as reconnecting:
        reconnecting.execute(again)
        ada.parts.accounts.put_off_ended()

    assert due_now(app, ada) == len(ada.parts.resources) + 1


def due_now(app: Flask, its: Syncing) -> int:
    """How many cursors and webhooks of a connection a look for what is due has to read."""
    now = its.connected.clock.database_time()
    with app.app_context():
        counts = [
            db.session.scalar(
                select(func.count()).where(
                    table.connection_id == its.connected.id, table.due_at <= now
                )
            )
            for table in (SyncCursor, Webhook)
        ]
    return sum(number or 0 for number in counts)
