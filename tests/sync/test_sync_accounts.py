"""A reconnect to another Katana account: nothing of the earlier one is shown."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import null

from app import sync
from app.database.db import db
from app.sync import copy, models
from app.sync.copy import Order, OrderRow, StockLevel
from app.sync.due import POLL_SECONDS
from app.sync.passes import WHOLE_AFTER
from tests.support.clocks import HeldClock
from tests.support.sandbox import Sandbox
from tests.support.syncing import Syncing, while_katana_answers

pytestmark = pytest.mark.held_time
DAY = WHOLE_AFTER.total_seconds()


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


@pytest.mark.short_form(1)
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


@pytest.mark.both_databases
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
