"""Pages of the copy: the stock, what is hidden from whom, and text from Katana."""

import re
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from sqlalchemy import delete, event, func, select, update

from app.database.db import db
from app.sync.copy import Customer, Order, Product, StockLevel, Variant
from app.sync.models import SyncCursor
from tests.conftest import MakeMaker
from tests.support.actors import Maker
from tests.support.clocks import HeldClock
from tests.support.copy_pages import STOCK, WICK, change, ids, links, listed, told
from tests.support.copying import work
from tests.support.pages import rows
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.held_time


@pytest.mark.both_databases
def test_no_page_of_the_stock_is_too_far(copied: Maker) -> None:
    """The last one is shown in its place."""
    whole = rows(copied.get("/stock"), STOCK)
    assert len(whole) > 1

    for page in ("0", "-1", "2", "99999", "9" * 30, "x", "%00", "²", ""):
        shown = copied.get(f"/stock?page={page}")
        assert (shown.status, len(rows(shown, STOCK))) == (200, len(whole)), page


def test_nobody_reaches_an_order_of_somebody_elses(
    app: Flask, copied: Maker, new_maker: MakeMaker
) -> None:
    """S-44: by no id and by no search; what is not there and what is another's answer alike."""
    bob = new_maker("bob")
    bob.sign_up()
    hers = ids(app)
    assert bob.get(f"/orders/{max(hers)}").status == 404
    bob.connect(factory=WICK)
    work(app)

    pages = [bob.get(f"/orders/{order}") for order in hers]
    assert {page.status for page in pages} == {404}
    assert {page.text for page in pages} == {bob.get("/orders/1").text}
    found = [bob.get(f"/orders?{urlencode({'q': text})}") for text in ("", "SO-64", "Tamm")]
    assert not any("Jaan Tamm" in page.text for page in found)
    assert listed(*found)
    assert not listed(*found, bob.dashboard()) & hers
    assert copied.get(f"/orders/{max(hers)}").status == 200
    assert "Alder city bike" not in bob.get("/stock").text
    assert bob.get("/copy/version").text != copied.get("/copy/version").text


def test_after_a_reconnect_nothing_of_the_other_factory_is_shown(app: Flask, copied: Maker) -> None:
    """From the moment of the connect on, before and after a worker has begun to read."""
    orders, hers = links(copied.get("/orders"), "<bdi>SO-64</bdi>"), ids(app)
    pages = [copied.connect(factory=WICK)]
    for chunks in (0, 1, 1, 200):
        work(app, chunks=chunks)
        pages += [copied.get(at) for at in ("/dashboard", "/orders", "/orders?q=Tamm", "/stock")]
        assert copied.get(orders).status == 404

    names = re.compile("Jaan Tamm|North Quay|Alder city bike|Birch cargo")
    assert not [page.text for page in pages if names.search(page.text)]
    assert not listed(*pages) & hers
    assert listed(*pages)
    assert "Tallow" in copied.get("/stock").text or "candle" in copied.get("/stock").text.lower()


@pytest.mark.short_form(1)
@pytest.mark.parametrize(
    ("resource", "gone"),
    [
        ("sales_orders", "SO-64|SO-40"),
        ("customers", "Jaan Tamm|North Quay"),
        ("products", "Alder city bike|ALD-S|Birch cargo"),
        ("inventory", "Alder city bike|ALD-S|Birch cargo"),
    ],
)
def test_what_an_earlier_account_has_left_is_not_shown(
    app: Flask, copied: Maker, resource: str, gone: str
) -> None:
    """Two accounts of one name: rows of the first stay until all of the second has been read."""
    order = links(copied.get("/orders"), "<bdi>SO-64</bdi>")
    pages = ("/orders", "/orders?q=Tamm", "/stock", order)
    assert any(re.search(gone, copied.get(at).text) for at in pages)
    its = update(SyncCursor).where(SyncCursor.resource == resource)
    change(app, its.values(shown_from=SyncCursor.mark + 1))

    shown = [copied.get(at) for at in (*pages, "/dashboard")]
    if resource == "inventory":
        shown = [page for page in shown if "What was ordered" not in page.text]

    assert not [page.text for page in shown if re.search(gone, page.text)]


def test_what_runs_short_comes_first(app: Flask, copied: Maker) -> None:
    """Exact over all locations; and what is of no product in the copy has its number for a name."""
    with app.app_context():
        variants = sorted(db.session.scalars(select(StockLevel.variant_id)))
        enough = {"in_stock": 100, "committed": 0, "expected": 0, "safety_level": 5}
        db.session.execute(update(StockLevel).values(**enough))
        level = db.session.scalars(
            select(StockLevel).where(StockLevel.variant_id == variants[-1])
        ).one()
        level.in_stock, level.committed = Decimal("0.3"), Decimal("7")
        elsewhere = StockLevel(
            connection_id=level.connection_id,
            variant_id=level.variant_id,
            location_id=99,
            mark=level.mark,
            **enough | {"in_stock": Decimal("0.000001"), "expected": Decimal("1.2")},
        )
        db.session.add(elsewhere)
        product = select(Variant.product_id).where(Variant.id == variants[0]).scalar_subquery()
        db.session.execute(delete(Product).where(Product.id == product))
        db.session.commit()

    page = copied.get("/stock")

    found = rows(page, STOCK)
    assert found[0][1:] == ["0.300001 pcs", "7", "1.2", "10", "15.499999"]
    assert {row[5] for row in found[1:]} == {"0"}
    assert f"1 of {len(variants)} products run short" in told(page)
    assert f"Item {variants[0]}" in told(page)


@pytest.mark.short_form(1)
@pytest.mark.parametrize("short", [0, 1])
def test_amounts_that_no_sum_can_hold_break_nothing(app: Flask, copied: Maker, short: int) -> None:
    """Katana may send what it likes: the largest quantity that is stored, at two locations."""
    most = Decimal(2**63 - 1).scaleb(-6)
    with app.app_context():
        level = db.session.scalars(select(StockLevel).limit(1)).one()
        for name in ("committed", "safety_level") if short else ("in_stock", "expected"):
            setattr(level, name, most)
        values = {"committed": most, "in_stock": most, "expected": most, "safety_level": most}
        key = {"connection_id": level.connection_id, "variant_id": level.variant_id}
        db.session.add(StockLevel(**key, location_id=98, mark=level.mark, **values))
        db.session.commit()

    page = copied.get("/stock")

    assert page.status == 200
    assert copied.dashboard().status == 200
    assert "18,446,744,073,709.55" in page.text


def test_disconnecting_deletes_the_copy(app: Flask, copied: Maker) -> None:
    """As the pages say: not one row is left of it."""
    assert "its copy of your orders, customers, products and stock" in told(copied.dashboard())
    copied.disconnect()

    tables = [table for table in db.metadata.sorted_tables if "connection_id" in table.columns]
    kept = {"connection_events"}
    with app.app_context():
        left = {
            table.name: db.session.scalar(select(func.count()).select_from(table))
            for table in tables
            if table.name not in kept
        }
    assert {"orders", "order_rows", "customers", "stock_levels", "set_aside"} <= left.keys()
    assert set(left.values()) == {0}


def test_records_that_cannot_be_read_are_shown_with_the_reason(
    app: Flask, copied: Maker, sandbox: Sandbox, clock: HeldClock
) -> None:
    """They stop nothing, and the owner can find them in Katana."""
    where = links(copied.get("/orders"), "<bdi>SO-64</bdi>")
    number = where.rpartition("/")[2]
    fields = {"total": "a lot"}
    sandbox.happen("change", resource="sales_orders", record=int(number), fields=fields)
    sandbox.happen("new_order")
    clock.move(70)
    work(app)

    page = copied.get("/orders")

    assert "1 record could not be read" in told(page)
    assert f"Katana's number {number}: total is not an amount" in told(page)
    assert "65 orders" in told(page)


def test_names_from_katana_are_text_of_their_own(app: Flask, copied: Maker) -> None:
    """S-17: no markup comes into a page, and no right-to-left name turns what stands around it."""
    mark = "<script>canary</script>\u202e"
    change(app, update(Order).values(number=mark, status="<b>"))
    change(app, update(Customer).values(name=mark, email="<i>@x.example"))
    change(app, update(Product).values(name=mark, unit="<u>"))
    change(app, update(Variant).values(sku=mark))
    with app.app_context():
        order = db.session.scalar(select(func.max(Order.id)))

    for where in ("/dashboard", "/orders", f"/orders/{order}", "/stock"):
        page = copied.get(where)
        assert page.status == 200
        assert page.text.count("&lt;script&gt;canary&lt;/script&gt;") >= 2
        assert not re.search("<script>|<b>|<i>|<u>", page.text)
        without_bdi = re.sub(r"<bdi>.*?</bdi>|<title>.*?</title>", "", page.text)
        assert "canary" not in without_bdi, where


@pytest.mark.short_form(1)
@pytest.mark.parametrize("where", ["/dashboard", "/orders", "/stock"])
def test_a_page_asks_the_database_no_more_for_more_rows(
    app: Flask, copied: Maker, where: str
) -> None:
    """A page is a handful of statements, whatever it lists, and none of them writes."""
    said: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", note)
        copied.get(where)
        event.remove(db.engine, "before_cursor_execute", note)

    assert len(said) <= 12
    assert all(statement.lstrip().startswith("SELECT") for statement in said)
