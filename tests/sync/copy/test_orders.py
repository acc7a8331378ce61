"""The list of orders: its parts, its search, its filters, and one order with its rows."""

import re
from itertools import chain
from urllib.parse import urlencode

import pytest
from flask import Flask
from sqlalchemy import func, select, update
from werkzeug.datastructures import MultiDict

from app.database.db import db
from app.pages import display
from app.pages.copy.orders import AT_ONCE
from app.pages.copy.search import CHARACTERS, Position, Search
from app.sync.copy import Customer, Order
from tests.support.actors import Maker
from tests.support.clocks import HeldClock
from tests.support.copy_pages import MANY, ORDERS, change, links, numbers, told
from tests.support.copying import work
from tests.support.pages import Page, rows
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.held_time


def test_the_parts_of_the_list_hold_each_order_once(copied: Maker) -> None:
    """Newest first, to the end and back, without a gap and without a repeat."""
    page, parts = copied.get("/orders"), []
    parts.append(numbers(page))
    while "Older orders" in page.text:
        page = copied.get(links(page, "Older orders"))
        parts.append(numbers(page))
    assert [len(part) for part in parts] == [AT_ONCE, AT_ONCE, MANY - 2 * AT_ONCE]
    assert list(chain(*parts)) == [f"SO-{n}" for n in range(MANY, 0, -1)]

    page = copied.get(links(page, "Newer orders"))
    assert numbers(page) == parts[1]
    page = copied.get(links(page, "Newer orders"))
    assert numbers(page) == parts[0]
    assert "Newer orders" not in page.text


def test_an_order_that_comes_moves_no_other_to_another_part(
    app: Flask, copied: Maker, sandbox: Sandbox, clock: HeldClock
) -> None:
    """Who goes on to older orders meets none twice."""
    first = copied.get("/orders")
    older = links(first, "Older orders")
    before = numbers(copied.get(older))
    sandbox.happen("new_order")
    clock.move(70)
    work(app)

    assert numbers(copied.get(older)) == before
    assert "65 orders" in told(copied.get("/orders"))


@pytest.mark.short_form(1)
@pytest.mark.parametrize("at", ["same", "all"])
def test_orders_of_one_moment_are_all_listed(app: Flask, copied: Maker, at: str) -> None:
    """Their numbers decide; the place in the list is not lost between equal moments."""
    moment = Position.read("2026-03-01T12:00:00.000001Z_1")
    assert moment
    same = update(Order).values(ordered_at=moment.ordered_at)
    change(app, same if at == "all" else same.where(Order.id % 2 == 0))

    page, found = copied.get("/orders"), []
    found += numbers(page)
    while "Older orders" in page.text:
        page = copied.get(links(page, "Older orders"))
        found += numbers(page)

    assert len(found) == len(set(found)) == MANY


#: What finds order SO-64, whose customer is Åse Öhman, and what finds no order.
FINDS = ("SO-64", "so-64", " 64 ", "o-6", "Åse Öhman", "åse öhman", "ÅSE", "Öh")
FINDS_NOTHING = ("SO-640", "Åse%", "A_se", "%", "_", "\\", "'")


@pytest.mark.both_databases
def test_orders_are_found_by_number_and_by_customer(app: Flask, copied: Maker) -> None:
    """Whatever case they are written in, and nothing that is typed is a pattern."""
    newest = select(Order.customer_id).where(Order.number == "SO-64").scalar_subquery()
    change(app, update(Customer).where(Customer.id == newest).values(name="Åse Öhman"))

    def found(text: str) -> Page:
        return copied.get(f"/orders?{urlencode({'q': text})}")

    assert [text for text in FINDS if "SO-64" not in numbers(found(text))] == []
    for page in map(found, FINDS_NOTHING):
        assert "0 orders" in told(page)
        assert "No order matches." in page.text


@pytest.mark.both_databases
def test_orders_are_filtered_by_status(app: Flask, copied: Maker) -> None:
    """Each status says how many there are; the filter goes along to older ones."""
    with app.app_context():
        counted = select(Order.status, func.count()).group_by(Order.status)
        counts = dict(db.session.execute(counted).all())
    page = copied.get("/orders")
    for status, number in counts.items():
        assert f"{display.status(status)} ({number})" in told(page)

    most = max(counts, key=lambda status: counts[status])
    page = copied.get(f"/orders?status={most}")
    found = [row[3] for row in rows(page, ORDERS)]
    while "Older orders" in page.text:
        page = copied.get(links(page, "Older orders"))
        found += [row[3] for row in rows(page, ORDERS)]

    assert found == [display.status(most)] * counts[most]


ODD_QUERIES = (
    *("q=%00", "q=%ff", "q=" + "a" * 4000, "status=%00", "status=nowhere", "q=%E2%80%AE"),
    *("older=x", "older=2026_1", "older=2026-03-01_1", "newer=9999-12-31T23:59:59Z_1"),
    *("older=0001-01-01T00:00:00Z_9", "older=2026-03-01T12:00:00Z_" + "9" * 30),
    *("older=0001-01-01T00:00:00%2B14:00_1", "newer=9999-12-31T23:59:59-14:00_1"),
    *("older=2026-03-01T12:00:00Z_-1", "older=&newer=", "q=a&q=b", "older=%F0%9F%99%82_1"),
)


@pytest.mark.both_databases
def test_no_address_breaks_the_list(copied: Maker) -> None:
    """What cannot be read is left out, and the page is there."""
    statuses = {query: copied.get(f"/orders?{query}").status for query in ODD_QUERIES}
    assert statuses == dict.fromkeys(ODD_QUERIES, 200)


def test_one_order_shows_its_rows(app: Flask, copied: Maker) -> None:
    """From the list to the order: whose it is, what was ordered, and what it comes to."""
    page = copied.get(links(copied.get("/orders"), "<bdi>SO-64</bdi>"))

    with app.app_context():
        order = db.session.scalars(select(Order).where(Order.number == "SO-64")).one()
        customer = db.session.scalars(
            select(Customer).where(Customer.id == order.customer_id)
        ).one()
    assert "<h1>Order <bdi>SO-64</bdi></h1>" in page.text
    assert customer.name in told(page)
    assert customer.email in told(page)
    assert display.money(order.total, order.currency) in told(page)
    ordered = rows(page, "What was ordered")
    assert ordered
    for product, quantity, price, total in ordered:
        assert re.fullmatch(r"\S.* [A-Z]+-[A-Z]+", product)
        assert re.fullmatch(r"[\d,]+ pcs", quantity)
        assert price.endswith(" EUR")
        assert total.endswith(" EUR")


@pytest.mark.both_databases
def test_an_order_that_is_not_there_is_no_page(copied: Maker) -> None:
    """Nor is a number that no database holds."""
    for order in ("0", "1", str(2**63 - 1), str(2**63), "9" * 40, "-1", "x"):
        assert copied.get(f"/orders/{order}").status == 404, order


def test_a_deleted_order_is_gone(
    app: Flask, copied: Maker, sandbox: Sandbox, clock: HeldClock
) -> None:
    """Its page is no page any more, and no list has it."""
    where = links(copied.get("/orders"), "<bdi>SO-64</bdi>")
    sandbox.happen("delete_order", record=int(where.rpartition("/")[2]))
    clock.move(70)
    work(app)

    assert copied.get(where).status == 404
    assert "SO-64" not in copied.get("/orders").text


def test_a_search_is_cut_and_cleaned() -> None:
    """What no order can hold is not looked for."""
    given = MultiDict({"q": " a\x00\u200bb" + "c" * 500, "status": "NOT\nSHIPPED"})

    asked = Search.read(given)

    assert asked.text.startswith("abc")
    assert len(asked.text) < CHARACTERS
    assert asked.status == "NOTSHIPPED"


def test_a_position_is_read_as_it_was_written() -> None:
    """To the microsecond, which keeps orders of one second apart."""
    position = Position.read("2026-03-01T12:00:00.123456Z_10012")

    assert position
    assert str(position) == "2026-03-01T12:00:00.123456Z_10012"
    assert Position.read(str(position)) == position
