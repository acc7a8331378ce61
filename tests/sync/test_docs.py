"""The code of docs/sync.md does what the page says."""

import re
from typing import Any

import pytest
from sqlalchemy import event, insert, select

from app.database.db import db
from app.settings.config import ROOT
from tests.support.forks import Fork
from tests.support.sandbox import Sandbox
from tests.support.syncing import Syncing

pytestmark = [pytest.mark.held_time, pytest.mark.own_stage]

FACTORY = "alder-and-spoke"
TRIES_A_RESOURCE = """
import pytest
from sqlalchemy import func, select

from app.database.db import Model, db
from app.sync.resources.prices import VariantPrice

pytestmark = pytest.mark.held_time

@pytest.mark.one_database
def test_the_prices_are_copied(ada, sandbox):
    with ada.app.app_context():
        Model.metadata.create_all(db.engine)
    ada.run()
    with ada.app.app_context():
        prices = dict(db.session.execute(select(VariantPrice.id, VariantPrice.price)).all())
    variants = sandbox.truth("alder-and-spoke")["variants"]
    assert {v["id"]: float(v["sales_price"]) for v in variants} == {
        i: float(price) for i, price in prices.items()
    }
    assert "variant.created" in ada.parts.subscriptions.events
"""


class Killed(BaseException):
    """The process ends here."""


def block(word: str) -> str:
    """The code of the page that has this word in it."""
    text = (ROOT / "docs" / "sync.md").read_text()
    (found,) = [each for each in re.findall(r"(?s)```python\n(.*?)```", text) if word in each]
    return found


@pytest.mark.slow
def test_a_resource_is_one_file(fork_with_prices: Fork) -> None:
    """Written into a copy of this repository, it is copied like the others."""
    fork_with_prices.run("pytest", "-q", "-p", "no:cacheprovider", "tests/sync/test_prices.py")


@pytest.fixture
def fork_with_prices(tmp_path_factory: pytest.TempPathFactory) -> Fork:
    """A copy with the file of the page."""
    fork = Fork(tmp_path_factory.mktemp("fork") / "tree")
    (fork.path / "app" / "sync" / "resources" / "prices.py").write_text(block("VariantPrice"))
    (fork.path / "tests" / "sync" / "test_prices.py").write_text(TRIES_A_RESOURCE)
    return fork


def test_a_handler_of_the_feed_prints_each_label_once(ada: Syncing, sandbox: Sandbox) -> None:
    """Killed at any of its statements, it goes on where it was."""
    page: dict[str, Any] = {}
    exec(block("print_labels"), page)
    with ada.app.app_context():
        page["tables"].create_all(db.engine)
        with db.engine.begin() as database:
            database.execute(insert(page["progress"]).values(position=0))
    ada.run()
    sandbox.happen("new_order", times=3)
    ada.again("sales_orders")
    orders = {order["id"] for order in sandbox.truth(FACTORY)["sales_orders"]}

    for number in (1, 2, 3, 40, 60, 70):
        killed(ada, page, number)
    with ada.app.app_context():
        while page["print_labels"]():
            pass
        printed = db.session.scalars(select(page["labels"].c.order_id)).all()

    assert sorted(printed) == sorted(orders)


def killed(ada: Syncing, page: dict[str, Any], number: int) -> None:
    """Let the handler die at its statement with this number, if there are so many."""
    seen: list[str] = []

    def count(_c: object, _k: object, statement: str, *_: object) -> None:
        seen.append(statement)
        if len(seen) == number:
            raise Killed

    with ada.app.app_context():
        event.listen(db.engine, "before_cursor_execute", count)
        try:
            page["print_labels"]()
        except Killed:
            pass
        finally:
            event.remove(db.engine, "before_cursor_execute", count)


def test_the_example_of_the_outbox_sends_one_order(ada: Syncing, sandbox: Sandbox) -> None:
    """Called twice with one number, as by a form that is sent twice."""
    page: dict[str, Any] = {}
    exec(block("order_saddles"), page)
    truth = sandbox.truth(FACTORY)
    customer, variant = truth["customers"][0]["id"], truth["variants"][0]["id"]

    with ada.app.app_context():
        for _ in range(2):
            page["order_saddles"](ada.connected.id, "P-7", customer, variant)
            for one in ada.parts.outgoing.due(10):
                ada.parts.outgoing.send(one)

    numbers = [order["order_no"] for order in sandbox.truth(FACTORY)["sales_orders"]]
    assert numbers.count("P-7") == 1
