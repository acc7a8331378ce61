"""Pages of the copy: there at once, also while Katana is away, and true about how old they are."""

import re
from collections.abc import Callable
from decimal import Decimal
from itertools import chain
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from sqlalchemy import delete, event, func, select, update
from werkzeug.datastructures import MultiDict

from app.connections.models import Connection
from app.database.db import db
from app.katana import client as katana_client
from app.pages import display
from app.pages.copy.freshness import UNTOLD
from app.pages.copy.orders import AT_ONCE
from app.pages.copy.search import CHARACTERS, Position, Search
from app.sync.copy import Customer, Order, Product, StockLevel, Variant
from app.sync.hints import AGAIN_SECONDS
from app.sync.models import SyncCursor, Webhook, WebhookState
from tests.conftest import MakeMaker
from tests.support.actors import ClientBrowser, Maker
from tests.support.clocks import HeldClock
from tests.support.copying import work
from tests.support.pages import Page, as_text, rows
from tests.support.sandbox import Sandbox

pytestmark = [pytest.mark.slow_on("postgresql"), pytest.mark.held_time]

WICK = "tallow-and-wick"
ORDERS, STOCK = "Orders, newest first", "Stock over all locations, what runs short first"
MANY = 64  # orders in the first factory


@pytest.fixture
def ada(maker: Maker, sandbox: Sandbox) -> Maker:
    """A maker whose Katana is connected, of whom nothing was read yet."""
    sandbox.rules(requests_per_minute=100_000)
    maker.sign_up()
    maker.connect()
    return maker


@pytest.fixture
def copied(app: Flask, ada: Maker) -> Maker:
    """A maker whose orders and stock were read."""
    work(app)
    return ada


def change(app: Flask, statement: Any) -> None:
    """Change what is stored."""
    with app.app_context():
        db.session.execute(statement)
        db.session.commit()


def asked(sandbox: Sandbox) -> int:
    """How often Katana's API was asked."""
    return len(sandbox.ledger().of("api"))


def told(page: Page) -> str:
    """The whole page as text, in one line."""
    return re.sub(r"\s+", " ", as_text(page.text))


def links(page: Page, words: str) -> str:
    """Where the link with these words leads."""
    found = re.search(rf'<a href="([^"]*)"[^>]*>{words}</a>', page.text)
    assert found, f"no link says {words}"
    return found[1].replace("&amp;", "&")


def listed(*pages: Page) -> set[int]:
    """Katana's ids of the orders that pages link to."""
    return {int(found) for page in pages for found in re.findall(r'"/orders/(\d+)"', page.text)}


def ids(app: Flask) -> set[int]:
    """Katana's ids of all orders that are stored, whoever's they are."""
    with app.app_context():
        return set(db.session.scalars(select(Order.id)))


def numbers(page: Page) -> list[str]:
    """The numbers of the orders on a page."""
    return [row[0] for row in rows(page, ORDERS)]


@pytest.mark.dashboard
@pytest.mark.one_database
def test_until_a_worker_has_begun_the_dashboard_asks_katana(ada: Maker, sandbox: Sandbox) -> None:
    """A fork without a worker shows what Katana says; the other pages say why they are empty."""
    before = asked(sandbox)

    page = ada.dashboard()

    assert len(rows(page, "Latest sales orders")) == 8
    assert asked(sandbox) == before + 4
    assert "Your orders have not been read yet" in ada.get("/orders").text
    assert "Your products have not been read yet" in ada.get("/stock").text
    assert asked(sandbox) == before + 4


@pytest.mark.dashboard
def test_the_dashboard_shows_the_copy_and_asks_katana_nothing(
    copied: Maker, sandbox: Sandbox
) -> None:
    """The latest orders with their customers, what runs short, and as of when."""
    before = asked(sandbox)

    page = copied.dashboard()

    orders, stock = rows(page, "Latest sales orders"), rows(page, "Stock")
    assert [order[0] for order in orders] == [f"SO-{n}" for n in range(64, 56, -1)]
    _, customer, date, status, total = orders[0]
    assert customer
    assert re.fullmatch(r"\d{1,2} [A-Z][a-z]{2} \d{4}", date)
    assert status in {"Not shipped", "Pending", "Packed", "Delivered"}
    assert re.fullmatch(r"[\d,]+\.\d\d EUR", total)
    assert len(stock) == 8
    assert "Orders and stock as of a moment ago." in told(page)
    assert asked(sandbox) == before


@pytest.mark.dashboard
def test_while_katana_is_away_everything_is_there_and_says_so(
    app: Flask, copied: Maker, sandbox: Sandbox, clock: HeldClock
) -> None:
    """Every page answers 200 with data, says how old that is, why, and when it is tried again."""
    sandbox.fault("api", "status", status=503, times=0)
    clock.move(125)
    work(app)

    for where in ("/dashboard", "/orders", "/stock"):
        page = copied.get(where)
        assert page.status == 200
        assert " of 2 minutes ago." in told(page), where
        assert "Katana does not answer. This app tries again in less than a minute." in told(page)
    assert len(rows(copied.get("/orders"), ORDERS)) == AT_ONCE


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "Katana does not let this app read your orders (error 403). Connected apps need"),
        (403, "Professional plan or a higher one, and the Katana user who connected must be"),
        (403, "Change that in Katana, or connect with another Katana user."),
        (401, "Katana does not accept this app's access (error 401)"),
        (401, "disconnect and connect again."),
        (422, "Katana did not understand what this app asked for. The people who run this app"),
    ],
)
def test_a_refusal_is_told_with_what_to_do(
    app: Flask, copied: Maker, sandbox: Sandbox, clock: HeldClock, status: int, words: str
) -> None:
    """401 and 403 are no numbers to an owner, but something that they can do."""
    sandbox.fault("api", "status", status=status, times=0)
    clock.move(70)
    work(app, "sales_orders")

    assert words in told(copied.get("/orders"))


@pytest.mark.one_database
def test_a_failure_of_our_own_is_told_as_such(app: Flask, copied: Maker) -> None:
    """Whatever word stands in the row, there is a sentence."""
    for failure in ("failed", "seal_broken", "anything"):
        change(app, update(SyncCursor).values(failure=failure))
        assert "The people who run this app can see why in its log." in told(copied.get("/orders"))


@pytest.mark.one_database
def test_no_page_waits_for_a_moment_of_a_wrong_clock(
    app: Flask, copied: Maker, clock: HeldClock
) -> None:
    """13: the database's clock ran a day ahead; the worker reads now, and the page says no day."""
    ahead = clock.database_time(24 * 3600)
    change(app, update(SyncCursor).values(failure="unavailable", next_attempt_at=ahead))
    page = told(copied.get("/orders"))

    assert "Katana does not answer." in page
    assert "tries again in" not in page


@pytest.mark.one_database
def test_a_pause_that_katana_asks_for_is_told(
    app: Flask, copied: Maker, sandbox: Sandbox, clock: HeldClock
) -> None:
    """A 429 is no failure: the page says so once the copy is late for it."""
    sandbox.fault("api", "status", status=429, retry_after="600", times=0)
    clock.move(70)
    work(app)
    assert "requests a minute" not in told(copied.get("/orders"))

    clock.move(120)

    page = told(copied.get("/orders"))
    assert "only so many requests a minute from this app. This app tries again in " in page


@pytest.mark.one_database
def test_a_worker_that_does_not_run_is_told(copied: Maker, clock: HeldClock) -> None:
    """What nobody reads any more does not look as if it were new."""
    clock.move(3 * 3600)

    page = told(copied.get("/orders"))

    assert "As of 3 hours ago." in page
    assert "The part of this app that reads from Katana is not running" in page


@pytest.mark.one_database
def test_a_login_that_renews_nothing_is_told(
    app: Flask, copied: Maker, sandbox: Sandbox, clock: HeldClock
) -> None:
    """Without a new access token nothing can be read; the page says that it is the login."""
    sandbox.fault("refresh", "status", status=503, times=0)
    sandbox.expire()
    clock.move(70)
    change(app, update(Connection).values(expires_at=clock.moment, renew_at=clock.moment))
    work(app, chunks=4)
    clock.move(120)

    assert "Katana's login does not answer as it should" in told(copied.get("/orders"))


def test_the_first_pass_shows_how_far_it_is(
    app: Flask, ada: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has been read is there, with how much of how much; the page says it is not all."""
    monkeypatch.setattr(katana_client, "PAGE_SIZE", 10)
    work(app, "sales_orders", chunks=2)  # whose account it is, and four of seven pages

    page = ada.get("/orders")

    seen, total = re.findall(r"first time: (\d+) of (\d+)\.", told(page))[0]
    assert int(total) == MANY
    assert 0 < int(seen) < MANY
    assert f'max="{total}" value="{seen}"' in page.text
    assert len(numbers(page)) == AT_ONCE  # of what has been read
    assert "As of" not in told(page)
    work(app)
    assert "first time" not in told(ada.get("/orders"))


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


@pytest.mark.dashboard
@pytest.mark.one_database
def test_the_dashboard_tells_two_ages_where_there_are_two(
    app: Flask, copied: Maker, clock: HeldClock
) -> None:
    """Stock is read less often than orders."""
    clock.move(125)
    work(app, "sales_orders")

    assert "Orders as of a moment ago. Stock as of 2 minutes ago." in told(copied.dashboard())


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


@pytest.mark.both_databases
def test_no_page_of_the_stock_is_too_far(copied: Maker) -> None:
    """The last one is shown in its place."""
    whole = rows(copied.get("/stock"), STOCK)
    assert len(whole) > 1

    for page in ("0", "-1", "2", "99999", "9" * 30, "x", "%00", "²", ""):
        shown = copied.get(f"/stock?page={page}")
        assert (shown.status, len(rows(shown, STOCK))) == (200, len(whole)), page


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


def test_update_now_makes_everything_due_and_asks_katana_nothing(
    app: Flask, copied: Maker, sandbox: Sandbox, clock: HeldClock
) -> None:
    """Also where a failure makes a pause; the page says that it was understood."""
    sandbox.fault("api", "status", status=403, times=0)
    clock.move(70)
    work(app)
    sandbox.clear_faults()
    sandbox.happen("new_order")
    work(app)
    assert "65 orders" not in told(copied.get("/orders"))
    before = asked(sandbox)
    clock.move(AGAIN_SECONDS)

    answer = copied.submit(copied.get("/orders"), "/copy/update")

    assert (answer.status, answer.location) == (303, "/orders")
    assert asked(sandbox) == before
    assert "Katana is asked now." in told(copied.get("/orders"))
    clock.move(1)
    work(app)
    assert "65 orders" in told(copied.get("/orders"))
    assert "error 403" not in told(copied.get("/orders"))
    copied.submit(copied.get("/orders"), "/copy/update")
    assert "Katana was asked only a few seconds ago." in told(copied.get("/orders"))
    work(app)
    assert asked(sandbox) == before + 4


@pytest.mark.parametrize("back", ["", "https://elsewhere.example", "//elsewhere.example", "copy"])
def test_update_now_leads_nowhere_else(copied: Maker, back: str) -> None:
    """What stands in the form is a word of ours, not an address."""
    answer = copied.submit(copied.get("/orders"), "/copy/update", back=back)

    assert answer.location == "/dashboard"


@pytest.mark.dashboard
@pytest.mark.one_database
@pytest.mark.parametrize(
    ("state", "detail", "words"),
    [
        (WebhookState.ACTIVE, None, "Katana tells this app of changes as they happen."),
        (WebhookState.MISSING, None, "This app asks Katana every minute."),
        (WebhookState.UNAVAILABLE, "of another time", "This app asks Katana every minute."),
        *((WebhookState.UNAVAILABLE, detail, words) for detail, words in UNTOLD.items()),
    ],
)
def test_the_dashboard_says_how_changes_are_heard_of(
    app: Flask, copied: Maker, state: str, detail: str | None, words: str
) -> None:
    """Where Katana does not tell of them, the reason, and that nothing is lost by it."""
    change(app, update(Webhook).values(state=state, detail=detail))

    page = told(copied.dashboard())

    assert words in page
    assert ("This app asks Katana every minute." in page) is (state != WebhookState.ACTIVE)


@pytest.mark.one_database
def test_without_a_connection_every_page_says_so(app: Flask, maker: Maker) -> None:
    """And what to do; a button of a page from before does no harm."""
    maker.sign_up()

    for where in ("/orders", "/stock"):
        page = maker.get(where)
        assert page.status == 200
        assert "Katana is not connected" in page.text
        assert page.form("/katana/connect")
    assert maker.get("/copy/version").text == ""
    token = maker.dashboard().form("/sign-out").fields
    assert maker.browser.send("POST", "/copy/update", token).location == "/dashboard"


@pytest.mark.dashboard
def test_where_katana_has_ended_access_the_copy_is_shown_with_how_old_it_is(
    app: Flask, copied: Maker, sandbox: Sandbox, clock: HeldClock
) -> None:
    """Nothing is lost by it; nothing new comes, and every page says so and offers to reconnect."""
    sandbox.kill()
    clock.move(1900)
    change(app, update(Connection).values(expires_at=clock.moment, renew_at=clock.moment))
    work(app, chunks=8)

    page = copied.dashboard()

    assert "needs to be connected again" in told(page)
    assert page.text.count('action="/katana/connect"') == 1
    for where in ("/dashboard", "/orders", "/stock"):
        page = copied.get(where)
        assert " of 31 minutes ago." in told(page), where
        assert "nothing new is read until you reconnect" in told(page)
        assert "Update now" not in page.text
    assert len(numbers(copied.get("/orders"))) == AT_ONCE


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


def test_the_version_is_another_one_once_a_page_would_show_something_else(
    app: Flask, copied: Maker, sandbox: Sandbox, clock: HeldClock
) -> None:
    """And the same until then: a page that follows is read again only for something."""
    page = copied.get("/copy/version")
    versions = [page.text]
    assert page.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert re.fullmatch("[0-9a-f]{16}", page.text)
    assert f'data-version="{page.text}"' in copied.get("/orders").text
    assert copied.get("/copy/version").text == page.text

    def moved(happens: Callable[[], object]) -> bool:
        happens()
        versions.append(copied.get("/copy/version").text)
        return versions[-1] != versions[-2]

    hint = app.extensions["sync"].hints.hint
    with app.app_context():
        connection_id = db.session.scalar(select(Connection.id))
    sandbox.happen("stock_moves", record=11000)
    assert not moved(lambda: hint(connection_id, "inventory", [11000]))
    clock.move(1)
    assert moved(lambda: work(app))  # one record, while the list is as of the same moment
    assert moved(lambda: clock.move(61))  # as of a minute ago
    assert not moved(lambda: clock.move(5))
    sandbox.fault("api", "status", status=503, times=0)
    clock.move(70)
    assert moved(lambda: work(app))
    assert moved(lambda: change(app, update(Connection).values(factory_name="Another name")))


@pytest.mark.one_database
def test_a_page_that_follows_uses_up_nothing_that_is_told_once(copied: Maker, app: Flask) -> None:
    """What `page.js` reads in one tab is not missing in another."""
    copied.submit(copied.get("/orders"), "/copy/update")
    assert isinstance(copied.browser, ClientBrowser)
    client = copied.browser._client
    by_script = client.get("/orders", headers={"Sec-Fetch-Dest": "empty"})

    assert "Katana was asked only" not in by_script.get_data(as_text=True)
    assert "Katana was asked only" in told(copied.get("/orders"))


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
