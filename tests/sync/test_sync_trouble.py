"""Sync in trouble: kills, wrong clocks, refusals, and records that cannot be read."""

from typing import Any

import pytest
from sqlalchemy import event, select

from app import sync
from app.sync.copy import Order
from app.sync.cursors import LEASE_SECONDS
from app.sync.hints import AGAIN_SECONDS
from app.sync.models import SyncCursor
from app.sync.passes import WHOLE_AFTER
from tests.support.clocks import HeldClock
from tests.support.sandbox import Sandbox
from tests.support.syncing import Syncing, wait_for_no_lock, while_katana_answers

pytestmark = pytest.mark.held_time
SMALL_PAGE = 10
DAY = WHOLE_AFTER.total_seconds()


@pytest.mark.usefixtures("small_pages")
def test_killed_at_any_statement_it_goes_on_where_it_was(
    ada: Syncing, sandbox: Sandbox, clock: HeldClock
) -> None:
    """A page and its cursor are one commit: no change is lost, none is told twice."""
    engine = ada.parts.engine
    statements = 0

    def kill(_c: Any, _k: Any, statement: str, *_: Any) -> None:
        nonlocal statements
        if "UPDATE connections" in statement:
            return  # killed between a response and its save, a refresh has lost its token

        statements += 1
        if statements % 23 == 0:
            raise Killed

    for _ in range(40):
        event.listen(engine, "before_cursor_execute", kill)
        try:
            ada.run()
            break
        except Killed:
            pass
        finally:
            event.remove(engine, "before_cursor_execute", kill)
        clock.move(LEASE_SECONDS + 1)
    ada.run()

    ada.assert_in_step()


class Killed(BaseException):
    """Ends a worker where it stands; no `except` of the app catches it."""


@pytest.mark.both_databases
def test_a_late_holder_stores_nothing(ada: Syncing, sandbox: Sandbox, clock: HeldClock) -> None:
    """Its lease has run out, another has read what is newer: its page would bring back the old."""
    ada.run()
    ada.hint("inventory")
    with while_katana_answers(ada, "inventory"):
        clock.move(LEASE_SECONDS + 1)
        sandbox.happen("stock_moves", record=11000)
        assert ada.chunk("inventory")
        ada.assert_in_step()
        feed = ada.feed()

    assert ada.feed() == feed
    ada.assert_in_step()


@pytest.mark.both_databases
def test_a_leased_cursor_is_nobody_elses(ada: Syncing, clock: HeldClock) -> None:
    """One worker reads a resource of a connection at a time, until its lease runs out."""
    held = ada.parts.cursors.claim(ada.connected.id, "customers")

    assert held
    assert ada.parts.cursors.claim(ada.connected.id, "customers") is None
    clock.move(LEASE_SECONDS + 1)
    assert ada.parts.cursors.claim(ada.connected.id, "customers")


@pytest.mark.one_database("postgresql")
def test_a_cursor_that_another_worker_is_just_claiming_is_not_waited_for(ada: Syncing) -> None:
    """Its row is locked until that worker has committed its claim."""
    wait_for_no_lock(ada.app)
    row = select(SyncCursor.fence).where(SyncCursor.resource == "customers")
    with ada.parts.engine.begin() as other:
        other.execute(row.with_for_update())
        assert ada.parts.cursors.claim(ada.connected.id, "customers") is None
    assert ada.parts.cursors.claim(ada.connected.id, "customers")


def test_a_dead_workers_work_is_taken_over_within_a_minute() -> None:
    """The lease and one look of another worker fit into it."""
    assert LEASE_SECONDS + 5 < 60


@pytest.mark.usefixtures("small_pages")
def test_asked_to_stop_it_stores_the_page_under_way(ada: Syncing) -> None:
    """One page is stored with its cursor, the lease is given back, the rest is due."""
    ada.chunk("sales_orders")  # begins with the account
    asked = ada.lists("/sales_orders")

    ada.chunk("sales_orders", stopped=lambda: True)

    assert ada.lists("/sales_orders") == asked + 1
    assert len(ada.rows(Order)) == SMALL_PAGE
    assert ada.cursor("sales_orders").lease_owner is None
    ada.run()
    ada.assert_in_step()


UNREADABLE: dict[str, dict[str, Any]] = {
    "an id that is none": {"fields": {"id": "none"}},
    "an id that is no number": {"fields": {"id": [7]}},
    "no id": {"omit": ["id"]},
    "an id of null": {"fields": {"id": None}},
    "a huge id": {"fields": {"id": 10**30}},
    "a date that is none": {"fields": {"updated_at": "yesterday"}},
    "a date that is a number": {"fields": {"updated_at": 1640995199}},
    "no date": {"omit": ["updated_at"]},
    "a date without a zone": {"fields": {"updated_at": "2026-11-27T06:00:00"}},
    "a date in the far future": {"fields": {"updated_at": "9999-12-31T00:00:00.000Z"}},
    "a sum that is none": {"fields": {"total": "a lot"}},
    "a huge sum": {"fields": {"total": 1e300}},
    "a sum that is a list": {"fields": {"total": []}},
    "rows that are none": {"fields": {"sales_order_rows": "two"}},
    "a row without an id": {"fields": {"sales_order_rows": [{}]}},
    "a row that is none": {"fields": {"sales_order_rows": [3]}},
    "no object": {"raw": "sales order"},
    "null": {"raw": None},
    "a list": {"raw": [1, 2]},
}


@pytest.mark.short_form(4)
@pytest.mark.parametrize("fault", UNREADABLE)
def test_a_record_that_cannot_be_read_is_set_aside_and_stops_nothing(
    ada: Syncing, sandbox: Sandbox, clock: HeldClock, fault: str
) -> None:
    """The others are stored; it is kept with its reason, tried again, and read once it is mended.

    Ids, dates, sums, rows and whole records that are of another kind, missing, or too large.
    """
    (injected,) = sandbox.happen("inject", resource="sales_orders", **UNREADABLE[fault])
    sandbox.happen("new_order")

    ada.run()
    assert len(ada.aside()) == 1
    assert len(ada.shown(Order)) == 65
    assert ada.cursor("sales_orders").failure is None

    sandbox.happen("mend", resource="sales_orders", serial=injected["serial"])
    for _ in range(3):
        clock.move(DAY)
        ada.run()

    assert ada.aside() == {}
    ada.assert_in_step()


def test_what_was_copied_stays_while_its_record_cannot_be_read(
    ada: Syncing, sandbox: Sandbox, clock: HeldClock
) -> None:
    """An order that becomes unreadable is shown as it was, through a whole pass too."""
    ada.run()
    sandbox.happen("change_order", record=10005, fields={"total": "a lot"})

    for _ in range(3):
        clock.move(DAY)
        ada.run()

    assert list(ada.aside()) == [("sales_orders", "10005")]
    assert 10005 in ada.copy()["sales_orders"]


@pytest.mark.short_form(2)
@pytest.mark.parametrize(
    ("status", "word"), [(401, "unauthorized"), (403, "forbidden"), (500, "unavailable")]
)
def test_a_failing_resource_backs_off_and_says_why(
    ada: Syncing, sandbox: Sandbox, clock: HeldClock, status: int, word: str
) -> None:
    """Each failure doubles the pause, up to an hour; "update now" asks at once."""
    ada.run()
    sandbox.fault("api", "status", status=status, times=0)
    pauses = []
    for _ in range(14):
        clock.move(AGAIN_SECONDS)
        assert ada.parts.hints.update_now(ada.connected.id)
        clock.move(0.001)
        ada.chunk("customers")
        row = ada.cursor("customers")
        assert row.next_attempt_at
        pauses.append((row.next_attempt_at - clock.moment).total_seconds())

    with ada.app.app_context():
        told = sync.status(ada.connected.id)["customers"]
    assert told.cursor.failure == word
    assert told.cursor.read_at
    assert pauses[3] > pauses[0]
    assert max(pauses) <= 3600
    assert pauses[-1] > 2800
    sandbox.clear_faults()
    clock.move(3600)
    ada.run()
    assert ada.cursor("customers").failure is None
    ada.assert_in_step()


@pytest.mark.short_form(1)
@pytest.mark.parametrize("column", ["due_at", "next_attempt_at", "lease_until"])
def test_a_moment_of_a_wrong_clock_is_over(
    ada: Syncing, sandbox: Sandbox, clock: HeldClock, column: str
) -> None:
    """13: the database's clock ran ahead and was set right; no resource waits for that day."""
    ada.run()
    sandbox.happen("new_order")
    clock.move(DAY)
    ada.change_cursors(**{column: DAY})

    ada.run()

    ada.assert_in_step()
