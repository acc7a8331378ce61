"""Sync: the copy equals Katana's truth, whatever changes while it is read."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app import sync
from app.database.db import db
from app.katana import client
from app.sync import models
from app.sync.copy import Order, OrderRow
from app.sync.due import POLL_SECONDS, POLL_WITH_WEBHOOK_SECONDS
from app.sync.hints import AGAIN_SECONDS
from app.sync.models import Webhook, WebhookState
from app.sync.passes import OVERLAP, WHOLE_AFTER
from tests.support.clocks import HeldClock
from tests.support.sandbox import Sandbox
from tests.support.syncing import Syncing, while_katana_answers

pytestmark = pytest.mark.held_time
SMALL_PAGE = 10
DAY = WHOLE_AFTER.total_seconds()


@pytest.mark.both_databases
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


@pytest.mark.short_form(4)
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


@pytest.mark.short_form(2)
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


@pytest.mark.both_databases
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


def test_a_position_is_katanas_and_never_later_than_its_clock(ada: Syncing) -> None:
    """The highest `updated_at` that was read; this machine's clock has no part in it."""
    ada.connected.clock.move(10 * DAY)
    ada.run()

    position = ada.cursor("sales_orders").position
    assert position == max(row.updated_at for row in ada.rows(Order))
    assert position < datetime.now(UTC) + timedelta(seconds=2)
