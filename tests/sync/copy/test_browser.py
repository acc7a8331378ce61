"""The pages of the copy in Chromium: they follow what happens, and work without JavaScript."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select, update

from app.connections.models import Connection
from app.database.db import db
from app.katana import client
from app.sync.copy import Order
from app.sync.models import SyncCursor
from tests.support.accessibility import is_accessible
from tests.support.commands import worker
from tests.support.copying import work
from tests.support.journeys import ALDER, connect, press, shows, sign_up
from tests.support.sandbox import Sandbox
from tests.support.servers import Served

pytestmark = [pytest.mark.browser, pytest.mark.one_database]

#: Lost by any load of the page.
MARK, MARKED = "window.marked = true", "window.marked === true"


@pytest.fixture
def copied(page: Page, app: Flask, sandbox: Sandbox) -> Iterator[Page]:
    """A window in front of the dashboard, with all of the copy; the policy has stopped nothing."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    sandbox.rules(requests_per_minute=100_000)
    sign_up(page)
    connect(page)
    page.goto("about:blank")  # else the dashboard follows the copy, and its reload meets the next
    work(app)
    page.goto("/dashboard")
    yield page
    assert not [text for text in said if "Failed to fetch" not in text and "ERR_" not in text]


def hint(app: Flask, resource: str) -> None:
    """As a webhook does; then a worker reads."""
    with app.app_context():
        connection_id = db.session.scalars(select(Connection.id)).one()
        app.extensions["sync"].hints.hint(connection_id, resource)
    work(app)


def test_a_new_order_appears_by_itself(copied: Page, app: Flask, sandbox: Sandbox) -> None:
    """On the dashboard and in the list, without a load of the page; the focus stays where it is."""
    newest = copied.get_by_role("table", name="Latest sales orders").get_by_role("row").nth(1)
    expect(newest).to_contain_text("SO-64")
    copied.evaluate(MARK)
    link = copied.get_by_role("link", name="All orders")
    link.focus()

    sandbox.happen("new_order")
    hint(app, "sales_orders")

    expect(newest).to_contain_text("SO-65")
    expect(link).to_be_focused()
    assert copied.evaluate(MARKED)
    link.click()
    shows(copied, "Orders")
    expect(copied.get_by_text("65 orders")).to_be_visible()


@pytest.mark.slow
def test_with_a_worker_everything_comes_by_itself(
    page: Page, sandbox: Sandbox, environ: dict[str, str]
) -> None:
    """After a connect the copy, after a delivery of Katana's what is new; no page is loaded."""
    sandbox.rules(requests_per_minute=100_000)
    sign_up(page)
    with worker(environ):
        connect(page)
        expect(page.get_by_text("Katana tells this app of changes as they happen.")).to_be_visible()
        newest = page.get_by_role("table", name="Latest sales orders").get_by_role("row").nth(1)
        expect(newest).to_contain_text("SO-64")
        page.evaluate(MARK)

        sandbox.happen("new_order")

        expect(newest).to_contain_text("SO-65")
        assert page.evaluate(MARKED)


@pytest.mark.slow
def test_the_first_pass_shows_its_progress_by_itself(
    page: Page, app: Flask, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From how far it is to all that there is, without a load of the page."""
    monkeypatch.setattr(client, "PAGE_SIZE", 10)
    sandbox.rules(requests_per_minute=100_000)
    sign_up(page)
    connect(page)
    work(app, "sales_orders", chunks=2)
    page.goto("/orders")
    bar = page.get_by_role("progressbar", name="Reading your orders")
    expect(bar).to_be_visible()
    expect(page.get_by_text(re.compile(r"\d+ of 64"))).to_be_visible()
    is_accessible(page)
    page.evaluate(MARK)

    work(app)

    expect(bar).to_have_count(0)
    expect(page.locator("#fresh")).to_contain_text("As of")
    assert page.evaluate(MARKED)


@pytest.mark.slow
def test_where_the_connection_has_become_another_the_page_is_loaded_again(
    copied: Page, app: Flask
) -> None:
    """What has other parts is another page."""
    shows(copied, ALDER)
    with app.app_context():
        ended = {"status": "reconnect_needed", "reason": "grant_ended"}
        db.session.execute(update(Connection).values(ended))
        db.session.commit()

    shows(copied, f"{ALDER} needs to be connected again")
    for button in ("Connect another account", "Update now"):
        expect(copied.get_by_role("button", name=button)).to_have_count(0)


@pytest.mark.slow
def test_a_page_that_cannot_follow_says_so(copied: Page) -> None:
    """It does not pretend to be new; it goes on once the app is back."""
    lost = copied.get_by_text("This page could not be brought up to date.")
    expect(lost).to_be_hidden()
    copied.context.set_offline(True)
    expect(lost).to_be_visible()

    copied.context.set_offline(False)

    expect(lost).to_be_hidden()


@pytest.mark.slow
def test_what_is_typed_is_not_lost_by_following(copied: Page, app: Flask, sandbox: Sandbox) -> None:
    """A list that follows leaves the form above it alone."""
    copied.goto("/orders")
    box = copied.get_by_label("Number or customer")
    box.press_sequentially("SO-6")
    sandbox.happen("new_order")

    hint(app, "sales_orders")

    expect(copied.get_by_text("65 orders")).to_be_visible()
    expect(box).to_have_value("SO-6")
    expect(box).to_be_focused()
    box.press("Enter")
    expect(copied.get_by_role("row", name=re.compile("SO-6"))).to_have_count(7)


@pytest.mark.slow
def test_times_are_those_of_the_visitor(
    copied: Page, browser: Browser, app: Flask, served: Served
) -> None:
    """A day and a moment in their own zone; the moment in UTC stays at hand."""
    with app.app_context():
        late = "2026-03-09T23:30:00Z"
        order = db.session.scalars(select(Order).where(Order.number == "SO-64")).one()
        order.ordered_at = order.updated_at.fromisoformat(late)
        db.session.execute(
            update(Connection).values(connected_at=order.updated_at.fromisoformat(late))
        )
        db.session.commit()
    cookies = copied.context.cookies()
    for zone, day, moment in (
        ("Asia/Tokyo", "10 Mar 2026", "10 Mar 2026, 08:30"),
        ("America/New_York", "9 Mar 2026", "9 Mar 2026, 19:30"),
    ):
        context = browser.new_context(base_url=served.url, timezone_id=zone)
        context.add_cookies(cookies)  # type: ignore[arg-type]
        page = context.new_page()
        page.goto("/dashboard")
        shown = page.locator(".facts time").first
        expect(shown).to_have_text(moment)
        expect(shown).to_have_attribute("title", "9 Mar 2026, 23:30 UTC")
        page.goto("/orders?q=SO-64")
        expect(page.get_by_role("row", name=re.compile("SO-64"))).to_contain_text(day)
        context.close()


@pytest.mark.slow
def test_every_page_works_without_javascript(
    copied: Page, browser: Browser, app: Flask, served: Served
) -> None:
    """Search, older orders, one order, stock and the button; times stand in UTC."""
    context = browser.new_context(base_url=served.url, java_script_enabled=False)
    context.add_cookies(copied.context.cookies())  # type: ignore[arg-type]
    page = context.new_page()
    page.goto("/dashboard")
    expect(page.locator(".facts")).to_contain_text("UTC")
    page.get_by_role("link", name="Orders", exact=True).click()
    page.get_by_role("link", name="Older orders").click()
    page.get_by_role("link", name="Newer orders").click()
    page.get_by_label("Number or customer").fill("so-60")
    press(page, "Search")
    page.get_by_role("link", name="SO-60").click()
    shows(page, "Order SO-60")
    expect(page.get_by_role("table", name="What was ordered")).to_be_visible()
    page.get_by_role("link", name="Stock", exact=True).click()
    shows(page, "Stock")
    press(page, "Update now")
    # The list may have been read a few seconds ago, and the page then says so.
    expect(page.get_by_role("status")).to_contain_text(re.compile("Katana (is|was) asked"))
    shows(page, "Stock")
    with app.app_context():
        db.session.execute(update(SyncCursor).values(first_pass_at=None))
        db.session.commit()
    page.get_by_role("link", name="Orders", exact=True).click()
    page.get_by_role("link", name="Look how far it is").click()
    shows(page, "Orders")
    context.close()


@pytest.mark.slow
def test_the_pages_of_the_copy_are_accessible(copied: Page) -> None:
    """axe finds nothing while all is well."""
    for where in ("/dashboard", "/orders", "/stock"):
        copied.goto(where)
        is_accessible(copied)


@pytest.mark.slow
def test_every_page_of_the_copy_is_accessible(copied: Page, app: Flask, sandbox: Sandbox) -> None:
    """axe finds nothing in any state, and no page scrolls sideways on a phone."""
    pages = ("/dashboard", "/orders", "/stock")
    for where in (*pages, "/orders?q=nobody", "/orders?status=DELIVERED"):
        copied.goto(where)
        is_accessible(copied)
    copied.goto("/orders?q=SO-64")
    copied.get_by_role("link", name="SO-64").click()
    shows(copied, "Order SO-64")
    is_accessible(copied)

    sandbox.happen("change", resource="sales_orders", record=10063, fields={"total": "a lot"})
    hint(app, "sales_orders")
    copied.goto("/orders")
    copied.get_by_text("1 record could not be read").click()
    is_accessible(copied)

    sandbox.fault("api", "status", status=403, times=0)
    for resource in ("sales_orders", "inventory"):
        hint(app, resource)
    for where in pages:
        copied.goto(where)
        expect(copied.get_by_text("(error 403)").first).to_be_visible()
        is_accessible(copied)

    with app.app_context():
        ended = {"status": "reconnect_needed", "reason": "grant_ended"}
        db.session.execute(update(Connection).values(ended))
        db.session.commit()
    for where in pages:
        copied.goto(where)
        is_accessible(copied)
    copied.goto("/dashboard")
    press(copied, "Disconnect")
    for where in pages:
        copied.goto(where)
        is_accessible(copied)


LENGTHEN = """() => document.querySelectorAll("tbody th bdi, td bdi, h1 bdi, dd bdi, .why, summary")
    .forEach(name => name.append(" Hochdruckwasserstrahlschneidemaschinenersatzteil".repeat(2)))"""
BEYOND = "card => card.scrollWidth > card.clientWidth"


@pytest.mark.slow
def test_no_name_is_too_long_for_these_pages(copied: Page) -> None:
    """Whatever customers and products are called, a page holds it, on a phone too."""
    copied.goto("/orders?q=SO-64")
    order = copied.get_by_role("link", name="SO-64").get_attribute("href")
    for where in ("/dashboard", "/orders", "/stock", str(order)):
        copied.goto(where)
        copied.evaluate(LENGTHEN)
        for width in (390, 1280):
            copied.set_viewport_size({"width": width, "height": 800})
            cards = copied.locator(".card, main").all()
            assert not any(card.evaluate(BEYOND) for card in cards), f"{where} at {width} pixels"
