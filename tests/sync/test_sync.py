"""Sync: the copy equals Katana's truth, whatever changes while it is read."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, null, select, update

from app import sync
from app.database.db import db
from app.katana import client
from app.sync import copy, models
from app.sync.copy import Order, OrderRow, StockLevel
from app.sync.cursors import LEASE_SECONDS
from app.sync.due import POLL_SECONDS, POLL_WITH_WEBHOOK_SECONDS
from app.sync.hints import AGAIN_SECONDS
from app.sync.models import SyncCursor, Webhook, WebhookState
from app.sync.passes import OVERLAP, WHOLE_AFTER
from tests.support.clocks import HeldClock
from tests.support.connected import MakeConnected
from tests.support.sandbox import Sandbox
from tests.support.syncing import Syncing, wait_for_no_lock, while_katana_answers

pytestmark = pytest.mark.held_time

SMALL_PAGE = 10
DAY = WHOLE_AFTER.total_seconds()


@pytest.fixture
def ada(new_connected: MakeConnected, sandbox: Sandbox) -> Syncing:
    """A connected user, of whom nothing has been read yet; Katana's limit is out of the way."""
    sandbox.rules(requests_per_minute=100_000)
    return Syncing(new_connected())


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty-four orders are seven pages."""
    monkeypatch.setattr(client, "PAGE_SIZE", SMALL_PAGE)


def test_the_first_pass_copies_all_that_katana_has(ada: Syncing) -> None:
    """Orders with their rows, customers, products with their variants, and stock."""
    ada.run()

    ada.assert_in_step()
    assert len(ada.copy()["sales_orders"]) == 64


def test_a_pass_without_changes_is_one_request_and_no_change(ada: Syncing) -> None:
    """An equal `updated_at` is no news: each resource is asked for once, the feed stays."""
    ada.run()
    before, asked = ada.feed(), {path: ada.lists(path) for path in PATHS}

    ada.again()

    assert ada.feed() == before
    assert {path: ada.lists(path) - asked[path] for path in PATHS} == dict.fromkeys(PATHS, 1)


PATHS = ("/sales_orders", "/customers", "/products", "/inventory")


@pytest.mark.parametrize(
    ("what", "details"),
    [
        ("new_order", {}),
        ("change_order", {}),
        ("ship_order", {}),
        ("delete_order", {}),
        ("busy_day", {}),
        ("new_customer", {}),
        ("change", {"resource": "customers", "fields": {"name": "Somebody else"}}),
        ("delete", {"resource": "customers"}),
        ("change", {"resource": "products", "fields": {"name": "Another name"}}),
        ("stock_moves", {}),
        ("delete", {"resource": "inventory", "record": 11000}),
    ],
)
def test_a_change_at_katana_reaches_the_copy(
    ada: Syncing, sandbox: Sandbox, what: str, details: dict[str, Any]
) -> None:
    """New, changed, shipped, deleted: the next pass has it, and the feed tells it once."""
    ada.run()
    before = ada.feed()
    sandbox.happen(what, **details)

    ada.again()

    ada.assert_in_step()
    assert len(ada.feed()) > len(before)


#: What may happen between two pages, by name: to records that were read, that are to be read, and
#: to the list itself.
BETWEEN = {
    "an order that was read is changed": [("change_order", {"record": 10001})],
    "an order that is to be read is changed": [("change_order", {"record": 10060})],
    "many are changed": [("change_order", {"record": 10000 + n}) for n in range(0, 64, 3)],
    "one is deleted": [("delete_order", {"record": 10002})],
    "one comes": [("new_order", {})],
    "one comes late": [("new_order", {"late": 30})],
    "twelve come late": [("new_order", {"late": 30, "times": 12})],
    "one is changed late": [("change_order", {"record": 10050, "late": 600})],
    "one comes and one leaves": [("new_order", {}), ("change_order", {"record": 10003})],
    "a busy day": [("busy_day", {})],
}


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("order", ["created_at", "updated_at"])
@pytest.mark.parametrize(
    "after_lists", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 7)), 4]
)
@pytest.mark.parametrize("happens", BETWEEN)
@pytest.mark.usefixtures("small_pages")
def test_what_moves_between_two_pages_makes_no_other_record_be_skipped(
    ada: Syncing, sandbox: Sandbox, clock: HeldClock, happens: str, after_lists: int, order: str
) -> None:
    """A record leaves the list, enters it, moves in it: after the pass that follows, all is there.

    Lists by either moment, changes after the first look, between any two pages, after the last.
    """
    sandbox.rules(list_order=order)
    for what, details in BETWEEN[happens]:
        sandbox.happen(what, resource="sales_orders", after_lists=after_lists, **details)

    ada.run("sales_orders")
    clock.move(POLL_SECONDS)
    ada.run()

    ada.settle()


@pytest.mark.usefixtures("small_pages")
def test_a_full_overlap_is_left_out_once_katanas_clock_has_left_it_behind(
    ada: Syncing, clock: HeldClock
) -> None:
    """However many records the last minute before the position has: one request, and no more."""
    ada.run()
    ada.connected.sandbox.grow("sales_orders", 3 * SMALL_PAGE)
    ada.settle()
    with ada.app.app_context():  # two minutes later
        cursor = db.session.get(models.SyncCursor, (ada.connected.id, "sales_orders"))
        cursor.until = cursor.position + 2 * OVERLAP
        db.session.commit()
    ada.again("sales_orders")
    asked = ada.lists("/sales_orders")

    for _ in range(3):
        ada.again("sales_orders")

    assert ada.lists("/sales_orders") == asked + 3
    ada.connected.sandbox.happen("new_order")
    ada.again("sales_orders")
    ada.settle()


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("what", ["delete", "change"])
@pytest.mark.parametrize("after_lists", [1, 2, 3])
def test_stock_that_moves_while_it_is_read_is_not_lost(
    ada: Syncing,
    sandbox: Sandbox,
    clock: HeldClock,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    after_lists: int,
) -> None:
    """Stock has no date to ask by: a row that leaves shifts only what is still to be read."""
    monkeypatch.setattr(client, "PAGE_SIZE", 3)
    fields = {"quantity_in_stock": "77.00000"} if what == "change" else {}
    sandbox.happen(what, resource="inventory", record=11000, after_lists=after_lists, fields=fields)

    ada.run()
    created = [change for change in ada.feed() if change.resource == "inventory"]
    for _ in range(2):
        clock.move(DAY)
        ada.run()

    ada.assert_in_step()
    assert [change.kind for change in created].count("deleted") == 0


@pytest.mark.usefixtures("small_pages")
def test_a_record_that_is_committed_late_is_found(ada: Syncing, sandbox: Sandbox) -> None:
    """Dated before the position, shown after it: each pass begins some time before its position."""
    ada.run()
    sandbox.happen("new_order")
    ada.again("sales_orders")
    sandbox.happen("new_order", late=OVERLAP.total_seconds() - 5)

    ada.again("sales_orders")

    ada.assert_in_step()


def test_what_vanished_without_a_trace_is_found_by_the_daily_pass(
    ada: Syncing, sandbox: Sandbox, clock: HeldClock
) -> None:
    """A row that Katana shows no more, and never said so: the whole list is read once a day."""
    ada.run()
    with ada.app.app_context():
        ghost = Order(
            connection_id=ada.connected.id,
            id=7,
            number="ghost",
            status="",
            currency="",
            updated_at=datetime(2020, 1, 1, tzinfo=UTC),
            mark=ada.cursor("sales_orders").mark,
        )
        db.session.add(ghost)
        db.session.commit()
    ada.again()
    assert 7 in ada.copy()["sales_orders"]

    clock.move(DAY)
    ada.run()

    assert 7 not in ada.copy()["sales_orders"]
    assert ada.feed()[-1].kind == "deleted"


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


@pytest.mark.usefixtures("small_pages")
def test_what_changes_during_a_whole_pass_is_not_taken_for_gone(
    ada: Syncing, sandbox: Sandbox, clock: HeldClock
) -> None:
    """It left the window by being changed, so the pass has not met it: only one answer tells."""
    ada.run()
    sandbox.happen("change_order", record=10030, resource="sales_orders", after_lists=2)

    clock.move(DAY + 1)
    ada.run()

    assert [change.kind for change in ada.feed()].count("deleted") == 0
    ada.settle()


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


@pytest.mark.usefixtures("small_pages")
def test_the_first_pass_goes_in_chunks_and_says_how_far_it_is(ada: Syncing) -> None:
    """Others get their turn in between; the newest orders are there first."""
    ada.chunk("sales_orders")  # begins with the account
    ada.pass_time(1)
    ada.chunk("sales_orders")

    with ada.app.app_context():
        told = sync.status(ada.connected.id)["sales_orders"]
    assert (told.cursor.seen, told.cursor.total, told.cursor.first_pass_at) == (24, 64, None)
    assert ada.parts.cursors.due(9) != [(ada.connected.id, "sales_orders")]  # others come first
    assert max(row.id for row in ada.shown(Order)) == 10063


def test_update_now_pressed_without_end_leaves_the_budget_to_others(
    ada: Syncing, clock: HeldClock
) -> None:
    """In ten seconds each list is read once, or twice where a press came while it was read."""
    ada.run()
    asked = ada.lists("/sales_orders")

    def press() -> bool:
        clock.move(0.1)
        is_heard = ada.parts.hints.update_now(ada.connected.id)
        clock.move(0.1)
        return is_heard

    assert not press()
    clock.move(AGAIN_SECONDS)
    for _ in range(20):
        press()
        ada.run()
    assert ada.lists("/sales_orders") == asked + 1

    clock.move(AGAIN_SECONDS)
    assert press()
    with while_katana_answers(ada, "sales_orders"):
        assert press()
        assert press()
    ada.run()
    assert ada.lists("/sales_orders") == asked + 3
    assert not press()


def test_update_now_asks_for_a_failing_list_once_in_ten_seconds(
    ada: Syncing, sandbox: Sandbox, clock: HeldClock
) -> None:
    """It ends the pause of one that has failed, and not of one that has just failed again."""
    ada.run()
    sandbox.fault("api", "status", status=500, times=0)
    clock.move(AGAIN_SECONDS)
    ada.parts.hints.update_now(ada.connected.id)
    assert ada.chunk("customers")

    for seconds, is_read in ((1, False), (AGAIN_SECONDS, True)):
        clock.move(seconds)
        ada.change_cursors(next_attempt_at=3600)
        ada.parts.hints.update_now(ada.connected.id)
        assert ada.chunk("customers") is is_read


def test_a_deleted_record_goes_after_a_month_and_does_not_come_back(
    ada: Syncing, sandbox: Sandbox, clock: HeldClock
) -> None:
    """With what is within it; the feed has told it at the deletion."""
    ada.run()
    sandbox.happen("delete_order", record=10002)
    ada.again()
    told = ada.feed()

    def stored() -> tuple[bool, bool]:
        orders = {row.id for row in ada.rows(Order)}
        return 10002 in orders, 10002 in {row.order_id for row in ada.rows(OrderRow)}

    for days, is_kept in ((29, True), (2, False), (1, False)):
        clock.move(days * DAY)
        ada.run()
        assert stored() == (is_kept, is_kept)
    assert ada.feed() == told
    ada.assert_in_step()


def test_hints_coalesce_and_one_during_a_pass_makes_another(ada: Syncing, sandbox: Sandbox) -> None:
    """A hundred deliveries are one pass; what comes while it reads is not lost."""
    ada.run()
    asked = ada.lists("/sales_orders")
    for _ in range(100):
        ada.hint("sales_orders")
    with while_katana_answers(ada, "sales_orders"):
        ada.hint("sales_orders")
        sandbox.happen("new_order")
        sandbox.clear_faults()
    ada.run()

    assert ada.lists("/sales_orders") == asked + 2
    ada.assert_in_step()


def test_a_hint_for_stock_reads_the_named_variants_alone(ada: Syncing, sandbox: Sandbox) -> None:
    """One request for them; the whole list waits for its time."""
    ada.run()
    sandbox.happen("stock_moves", record=11001)
    asked = ada.lists("/inventory")

    ada.hint("inventory", 11001, 11002)
    ada.run()

    assert ada.lists("/inventory") == asked + 1
    ada.assert_in_step()
    assert ada.rows(models.SyncHint) == []
    assert [change.record_id for change in ada.feed()][-1] == 11001


@pytest.mark.parametrize(("well", "seconds"), [(False, POLL_SECONDS), (True, 300)])
def test_without_a_hint_it_polls(
    ada: Syncing, clock: HeldClock, well: bool, seconds: float
) -> None:
    """Every minute; every five where a webhook works; spread, and never later."""
    assert POLL_WITH_WEBHOOK_SECONDS == 300
    if well:
        with ada.app.app_context():
            db.session.execute(update(Webhook).values(state=WebhookState.ACTIVE))
            db.session.commit()
    ada.run()

    clock.move(seconds * 0.79)
    assert not ada.parts.cursors.due(9)
    clock.move(seconds * 0.22)
    assert len(ada.parts.cursors.due(9)) == 1  # one resource of a connection at a time
    assert ada.run() == 4


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


@pytest.mark.slow_on("postgresql")
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


def test_an_account_that_the_callback_could_not_name_is_named_later(
    ada: Syncing, sandbox: Sandbox, clock: HeldClock
) -> None:
    """Katana did not answer then, nor at the first pass; a day later it is asked again."""
    ada.connected.change(factory_name=null())
    sandbox.fault("api", "status", status=500, path="/v1/factory", times=0)
    ada.run()
    assert ada.connected.row().factory_name is None
    ada.assert_in_step()

    sandbox.clear_faults()
    clock.move(DAY + 1)
    ada.run()

    assert ada.connected.row().factory_name == "Alder & Spoke Bicycles"


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


def test_a_reconnect_to_another_factory_shows_nothing_of_the_earlier(
    ada: Syncing, sandbox: Sandbox
) -> None:
    """Nothing in the moment of the reconnect, nothing while the new one is read, nothing after."""
    ada.run()
    sandbox.happen("delete_order")
    ada.again()
    earlier = {row.id for row in ada.shown(Order)}
    ada.connected.reconnect(factory=OTHER)

    assert ada.shown(Order) == []
    assert ada.shown(StockLevel) == []
    with ada.app.app_context():
        assert sync.status(ada.connected.id) == {}
    while due := ada.parts.cursors.due(1):
        ada.chunk(due[0][1])
        assert not earlier & {row.id for row in ada.shown(Order)}

    assert not earlier & {row.id for row in ada.rows(Order)}
    assert not earlier & {row.order_id for row in ada.rows(OrderRow)}
    ada.assert_in_step()


@pytest.mark.usefixtures("small_pages")
def test_a_reconnect_to_an_account_of_the_same_name_shows_only_what_it_has_shown(
    ada: Syncing, sandbox: Sandbox, clock: HeldClock
) -> None:
    """The name proves nothing: rows are shown once the new connect has met them."""
    ada.run()
    feed = ada.feed()
    with ada.app.app_context():
        stranger = Order(
            connection_id=ada.connected.id,
            id=7,
            number="of another account",
            status="",
            currency="",
            updated_at=datetime(2099, 1, 1, tzinfo=UTC),
            mark=ada.cursor("sales_orders").mark,
        )
        db.session.add(stranger)
        db.session.commit()
    ada.connected.reconnect()

    while due := ada.parts.cursors.due(1):
        ada.chunk(due[0][1])
        assert 7 not in {row.id for row in ada.shown(Order)}
    clock.move(POLL_SECONDS)
    ada.run()

    assert 7 not in {row.id for row in ada.rows(Order)}
    assert [change.record_id for change in ada.feed()[len(feed) :]] == [7]


@pytest.mark.parametrize("grown", [0, 300])
def test_an_account_of_the_same_name_and_ids_is_told_apart(
    ada: Syncing, sandbox: Sandbox, clock: HeldClock, grown: int
) -> None:
    """Its records bear the ids of the earlier account's, and dates as they come: none is mixed up.

    Orders, their rows, customers, products and stock; deleted ones, too; lists of several pages.
    """
    sandbox.happen("delete_order", factory="alder-and-spoke", record=10003)
    sandbox.happen("change_order", factory="alder-and-spoke", record=10004)
    if grown:
        sandbox.grow("sales_orders", grown, days=20, factory="alder-and-spoke")
    ada.run()
    sandbox.happen("delete_order", factory="alder-and-spoke", record=10005)
    ada.again()
    ada.settle()
    ada.connected.reconnect(factory="alder-and-spoke-rentals")
    ada.factory = "alder-and-spoke-rentals"

    assert ada.shown(Order) == []
    while due := ada.parts.cursors.due(1):
        ada.chunk(due[0][1])
        shown, truth = ada.copy(), ada.truth()
        for name, records in shown.items():
            assert records.items() <= truth[name].items()
    ada.settle()


def test_what_is_within_a_record_of_the_earlier_account_is_compared(ada: Syncing) -> None:
    """An order of the same id and date whose rows alone differ is read anew after a reconnect."""
    ada.run()
    with ada.app.app_context():
        db.session.execute(db.update(OrderRow).values(quantity=77))
        db.session.commit()
    ada.connected.reconnect()

    ada.run()

    ada.assert_in_step()


def test_a_page_of_the_earlier_account_is_not_stored(ada: Syncing, sandbox: Sandbox) -> None:
    """It was asked for before the reconnect, and comes after the new account was begun with."""
    ada.run()
    ada.hint("sales_orders")
    with while_katana_answers(ada, "sales_orders"):
        ada.connected.reconnect(factory=OTHER)
        sandbox.clear_faults()
        ada.chunk("customers")  # begins with the new account
        assert ada.rows(Order) == []

    assert ada.rows(Order) == []
    ada.run()
    ada.assert_in_step()


OTHER = "tallow-and-wick"


def test_disconnecting_deletes_the_copy(ada: Syncing, sandbox: Sandbox) -> None:
    """Also in the middle of a pass, whose page finds nothing to be stored to."""
    ada.run()
    ada.hint("sales_orders")
    sandbox.happen("new_order")
    with while_katana_answers(ada, "sales_orders"):
        ada.connected.disconnect()

    for model in (Order, OrderRow, copy.Customer, copy.Product, copy.Variant, StockLevel):
        assert ada.rows(model) == []
    assert ada.feed() == []
    assert ada.rows(models.SyncCursor) == []


def test_a_connection_whose_begin_was_lost_is_found(ada: Syncing) -> None:
    """One that was made before sync was installed is taken up as well."""
    with ada.app.app_context():
        db.session.execute(db.delete(models.SyncAccount))
        db.session.execute(db.delete(models.SyncCursor))
        db.session.commit()

    assert ada.parts.accounts.unknown(9) == [ada.connected.id]
    ada.parts.accounts.begin(ada.connected.id)
    ada.run()

    ada.assert_in_step()
    assert ada.parts.accounts.unknown(9) == []


def test_a_position_is_katanas_and_never_later_than_its_clock(ada: Syncing) -> None:
    """The highest `updated_at` that was read; this machine's clock has no part in it."""
    ada.connected.clock.move(10 * DAY)
    ada.run()

    position = ada.cursor("sales_orders").position
    assert position == max(row.updated_at for row in ada.rows(Order))
    assert position < datetime.now(UTC) + timedelta(seconds=2)
