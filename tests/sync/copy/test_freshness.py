"""Pages of the copy are there at once, also while Katana is away, and say how old they are."""

import re
from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import select, update

from app.connections.models import Connection
from app.database.db import db
from app.katana import client as katana_client
from app.pages.copy.freshness import UNTOLD
from app.pages.copy.orders import AT_ONCE
from app.sync.hints import AGAIN_SECONDS
from app.sync.models import SyncCursor, Webhook, WebhookState
from tests.support.actors import ClientBrowser, Maker
from tests.support.clocks import HeldClock
from tests.support.copy_pages import MANY, ORDERS, asked, change, numbers, told
from tests.support.copying import work
from tests.support.pages import rows
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.held_time


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


@pytest.mark.short_form(1)
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


@pytest.mark.dashboard
@pytest.mark.one_database
def test_the_dashboard_tells_two_ages_where_there_are_two(
    app: Flask, copied: Maker, clock: HeldClock
) -> None:
    """Stock is read less often than orders."""
    clock.move(125)
    work(app, "sales_orders")

    assert "Orders as of a moment ago. Stock as of 2 minutes ago." in told(copied.dashboard())


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


@pytest.mark.short_form(2)
@pytest.mark.parametrize("back", ["", "https://elsewhere.example", "//elsewhere.example", "copy"])
def test_update_now_leads_nowhere_else(copied: Maker, back: str) -> None:
    """What stands in the form is a word of ours, not an address."""
    answer = copied.submit(copied.get("/orders"), "/copy/update", back=back)

    assert answer.location == "/dashboard"


@pytest.mark.short_form(2)
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
