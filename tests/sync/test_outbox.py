"""The outbox: an order that the partner makes is at Katana once, whatever fails on the way."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

import pytest
from flask import Flask
from sqlalchemy import event, select

from app.database.db import db
from app.sync.outbox import (
    LEASE_SECONDS,
    SEND_SECONDS,
    SETTLE_SECONDS,
    NewOrder,
    Outbox,
    OutboxState,
)
from tests.support.connected import MakeConnected
from tests.support.sandbox import Sandbox
from tests.support.syncing import Syncing

pytestmark = pytest.mark.held_time

FACTORY = "alder-and-spoke"


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def ada(new_connected: MakeConnected, sandbox: Sandbox) -> Syncing:
    """A connected user with an order in the outbox."""
    sandbox.rules(requests_per_minute=100_000)
    ada = Syncing(new_connected())
    add(ada)
    return ada


def order(whose: Syncing, order_no: str = "P-1") -> NewOrder:
    """Two saddles for a customer."""
    (customer, *_) = (
        r["id"] for r in whose.connected.sandbox.truth(FACTORY)["customers"] if not r["deleted_at"]
    )
    (variant, *_) = (r["id"] for r in whose.connected.sandbox.truth(FACTORY)["variants"])
    return NewOrder(order_no, customer, [(variant, 2)])


def add(whose: Syncing, order_no: str = "P-1") -> None:
    """Put it in the outbox."""
    with whose.app.app_context(), db.engine.begin() as database:
        whose.parts.outgoing.add(database, whose.connected.id, order(whose, order_no))


def send(whose: Syncing) -> int:
    """What a worker does now; how much was due."""
    with whose.app.app_context():
        found = whose.parts.outgoing.due(10)
        for one in found:
            whose.parts.outgoing.send(one)
    return len(found)


def send_in_the_end(whose: Syncing) -> None:
    """Let time pass, and workers do what is due, until nothing is pending."""
    for _ in range(200):
        send(whose)
        if row(whose).state != OutboxState.PENDING:
            return
        whose.pass_time(30)
    raise AssertionError("it is pending for ever")


def row(whose: Syncing) -> Outbox:
    """The one row."""
    with whose.app.app_context():
        found = db.session.scalars(select(Outbox)).one()
        db.session.expunge(found)
        return found


def at_katana(sandbox: Sandbox, order_no: str = "P-1") -> list[int]:
    """The orders with this number at Katana, deleted ones too."""
    orders = sandbox.truth(FACTORY)["sales_orders"]
    return [order["id"] for order in orders if order["order_no"] == order_no]


def test_it_is_sent_and_its_id_kept(ada: Syncing, sandbox: Sandbox) -> None:
    """One request, and nothing more to do."""
    send(ada)

    (order_id,) = at_katana(sandbox)
    assert (row(ada).state, row(ada).katana_id) == (OutboxState.SENT, order_id)
    assert send(ada) == 0
    ada.run()
    assert order_id in ada.copy()["sales_orders"]


def test_the_same_number_is_added_once(ada: Syncing, sandbox: Sandbox) -> None:
    """A form that is sent twice makes one order."""
    add(ada)
    send(ada)
    add(ada)
    send(ada)

    assert len(at_katana(sandbox)) == 1


@pytest.mark.both_databases
def test_it_is_added_with_the_callers_own_work_or_not_at_all(ada: Syncing) -> None:
    """The caller's transaction decides."""
    with ada.app.app_context(), suppress(Killed), db.engine.begin() as database:
        ada.parts.outgoing.add(database, ada.connected.id, order(ada, "P-2"))
        raise Killed

    with ada.app.app_context():
        assert db.session.scalars(select(Outbox.natural_key)).all() == ["P-1"]


FAULTS = {
    "nothing fails": {},
    "the answer is lost": {"fault": "lose_answer"},
    "the answer is lost twice": {"fault": "lose_answer", "times": 2},
    "the request is lost": {"fault": "drop_before"},
    "500 before it is done": {"fault": "status", "status": 500},
    "429": {"fault": "status", "status": 429, "retry_after": "5"},
    "401": {"fault": "status", "status": 401},
    "a redirect": {"fault": "redirect"},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_whatever_becomes_of_the_request_there_is_one_order(
    ada: Syncing, sandbox: Sandbox, fault: dict[str, object]
) -> None:
    """It is looked up before it is sent again."""
    if fault:
        sandbox.fault("api", method="POST", path="/v1/sales_orders", **fault)  # type: ignore[arg-type]
    send_in_the_end(ada)

    assert len(at_katana(sandbox)) == 1
    assert row(ada).state == OutboxState.SENT
    assert row(ada).katana_id in {*at_katana(sandbox)}


@contextmanager
def killed_at(app: Flask, number: int) -> Iterator[list[str]]:
    """End the process at the outbox's statement with this number."""
    seen: list[str] = []
    with app.app_context():
        engine = db.engine

    def count_it(_c: object, _k: object, statement: str, *_: object) -> None:
        if "outbox" in statement:  # what a kill costs a refresh is for its own tests
            seen.append(statement)
            if len(seen) == number:
                raise Killed

    event.listen(engine, "before_cursor_execute", count_it)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", count_it)


@pytest.mark.parametrize("fault", ["nothing fails", "the answer is lost"])
def test_killed_at_any_statement_there_is_one_order(
    ada: Syncing, sandbox: Sandbox, fault: str
) -> None:
    """A worker that dies anywhere is followed by another, once its lease is over."""
    for number in count(1):
        name = f"K-{number}"
        add(ada, name)
        if FAULTS[fault]:
            sandbox.fault("api", method="POST", path="/v1/sales_orders", **FAULTS[fault])  # type: ignore[arg-type]
        try:
            with killed_at(ada.app, number) as seen:
                send(ada)
        except Killed:
            pass
        for _ in range(30):
            ada.pass_time(LEASE_SECONDS)
            send(ada)
        sandbox.clear_faults()

        assert len(at_katana(sandbox, name)) == 1, (number, seen[-1])
        if len(seen) < number:
            break
    assert number > 4


@pytest.mark.both_databases
def test_a_request_on_its_way_is_waited_for(ada: Syncing, sandbox: Sandbox) -> None:
    """Right after a lost answer a look would find nothing yet: it comes after a minute."""
    sandbox.fault("api", "lose_answer", method="POST", path="/v1/sales_orders")
    send(ada)
    asked = len(sandbox.ledger().of("api"))
    ada.pass_time(SETTLE_SECONDS / 2)

    send(ada)

    assert len(sandbox.ledger().of("api")) == asked
    assert row(ada).state == OutboxState.PENDING
    assert SEND_SECONDS < LEASE_SECONDS <= SETTLE_SECONDS
    send_in_the_end(ada)
    assert len(at_katana(sandbox)) == 1


def test_one_that_was_deleted_at_katana_is_not_made_again(ada: Syncing, sandbox: Sandbox) -> None:
    """The answer was lost, and before the look somebody deleted the order: that counts as sent."""
    sandbox.fault("api", "lose_answer", method="POST", path="/v1/sales_orders")
    send(ada)
    sandbox.happen("delete_order", record=at_katana(sandbox)[0])

    send_in_the_end(ada)

    assert len(at_katana(sandbox)) == 1
    assert row(ada).state == OutboxState.SENT


def test_what_katana_refuses_is_told_and_not_tried_again(ada: Syncing, sandbox: Sandbox) -> None:
    """An order for a customer that there is not: one line in the log, no second try."""
    with ada.app.app_context(), db.engine.begin() as database:
        wrong = NewOrder("P-9", 999_999, [(1, 1)])
        ada.parts.outgoing.add(database, ada.connected.id, wrong)
    send(ada)
    ada.pass_time(24 * 3600)
    send(ada)

    with ada.app.app_context():
        found = db.session.scalars(select(Outbox).where(Outbox.natural_key == "P-9")).one()
    assert found.state == OutboxState.FAILED
    assert "422" in (found.detail or "")
    assert at_katana(sandbox, "P-9") == []


@pytest.mark.both_databases
def test_two_workers_send_one_order(ada: Syncing, sandbox: Sandbox) -> None:
    """Both find it due, one claims it."""
    with ada.app.app_context():
        (one,) = ada.parts.outgoing.due(10)
        ada.parts.outgoing.send(one)
        ada.parts.outgoing.send(one)

    assert len(at_katana(sandbox)) == 1


def test_disconnecting_drops_what_was_not_sent(ada: Syncing, sandbox: Sandbox) -> None:
    """It hangs on the connection, like all of the copy."""
    ada.connected.disconnect()

    assert send(ada) == 0
    assert at_katana(sandbox) == []
