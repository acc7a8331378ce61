"""The dashboard: a factory read live, and what it shows instead when that cannot be."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from flask import Flask, jsonify
from flask import Response as Answer
from sqlalchemy import select, update

from app.accounts.models import User
from app.connections.models import Connection, ConnectionEvent, Reason
from app.database.clock import SystemClock
from app.database.db import db
from app.pages import display
from app.pages.katana_api import PAGE_SECONDS
from tests.conftest import MakeApp, MakeMaker
from tests.support.actors import ClientBrowser, Maker
from tests.support.pages import Page, rows
from tests.support.rows import connection
from tests.support.sandbox import Sandbox
from tests.support.servers import serving

pytestmark = pytest.mark.slow_on("postgresql")

ALDER = "Alder &amp; Spoke Bicycles"


@pytest.fixture
def ada(maker: Maker) -> Maker:
    """A maker whose Katana is connected."""
    maker.sign_up()
    maker.connect()
    return maker


def history(page: Page) -> list[str]:
    """What the page says has happened, newest first."""
    listed = page.text.split('<ol class="history">')[1].split("</ol>")[0]
    return [re.sub(r"\s*<.*", "", item) for item in re.findall(r"<li[^>]*>(.*?)</li>", listed)]


@pytest.mark.one_database
def test_orders_are_shown_with_customer_status_and_total(ada: Maker) -> None:
    """The latest eight orders, newest first, in plain words."""
    orders = rows(ada.dashboard(), "Latest sales orders")

    assert len(orders) == 8
    assert [order[0] for order in orders] == [f"SO-{n}" for n in range(64, 56, -1)]
    _, customer, date, status, total = orders[0]
    assert customer
    assert re.fullmatch(r"\d{1,2} [A-Z][a-z]{2} \d{4}", date)
    assert status in {"Not shipped", "Pending", "Packed", "Delivered"}
    assert re.fullmatch(r"[\d,]+\.\d\d EUR", total)


@pytest.mark.one_database
def test_stock_is_shown_with_its_product(ada: Maker) -> None:
    """A few products, each variant with what is there and what is promised."""
    stock = rows(ada.dashboard(), "Stock")

    assert len(stock) == 8
    product, in_stock, committed = stock[0]
    assert re.fullmatch(r"\S.* [A-Z]+-[A-Z]+", product)
    assert re.fullmatch(r"[\d,]+ pcs", in_stock)
    assert re.fullmatch(r"\d+", committed)


@pytest.mark.one_database
def test_katana_is_read_at_each_load(ada: Maker, sandbox: Sandbox) -> None:
    """No copy is kept: every look at the page is a look at Katana, in four requests."""
    before = len(sandbox.ledger().of("api"))

    ada.dashboard()
    ada.dashboard()

    assert len(sandbox.ledger().of("api")) == before + 8


def test_the_page_says_when_access_is_renewed(app: Flask, ada: Maker) -> None:
    """The moment stands in UTC, for people and for machines, with its day: it may be weeks off."""
    page = ada.dashboard()

    with app.app_context():
        renew_at = db.session.scalars(select(Connection.renew_at)).one()
    assert f"next around {display.moment(renew_at)}</dd>" in page.text


def test_a_token_that_has_expired_is_renewed_unseen(ada: Maker, sandbox: Sandbox) -> None:
    """Past the token's life the page still shows data, and the page counts the renewal."""
    assert history(ada.dashboard()) == ["Connected"]
    sandbox.expire()

    page = ada.dashboard()

    assert page.status == 200
    assert len(rows(page, "Latest sales orders")) == 8
    assert history(page) == ["Connected"]
    assert "<dt>Renewed once</dt><dd>last just now</dd>" in page.text
    assert len(sandbox.ledger().of("refresh")) == 1


@pytest.mark.one_database
def test_a_refresh_sends_exactly_what_is_documented(ada: Maker, sandbox: Sandbox) -> None:
    """S-14, S-34: these fields in the body, and nothing in an Authorization header."""
    sandbox.expire()
    ada.dashboard()

    (refresh,) = sandbox.ledger().of("refresh")
    assert refresh.fields == [
        "client_id",
        "client_secret",
        "grant_type",
        "redirect_uri",
        "refresh_token",
    ]
    assert "authorization" not in refresh.headers


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("fault", "status", "title", "retry_after"),
    [
        ({"fault": "status", "status": 500}, 503, "Katana does not answer", "60"),
        ({"fault": "status", "status": 503}, 503, "Katana does not answer", "60"),
        ({"fault": "drop_before"}, 503, "Katana does not answer", "60"),
        ({"fault": "lose_answer"}, 503, "Katana does not answer", "60"),
        ({"fault": "body", "text": "<html>"}, 503, "Katana does not answer", "60"),
        ({"fault": "body", "text": '{"data": 5}'}, 503, "Katana does not answer", "60"),
        ({"fault": "body", "text": '{"data": [{}]}'}, 503, "Katana does not answer", "60"),
        ({"fault": "redirect"}, 503, "Katana does not answer", "60"),
        (
            {"fault": "status", "status": 429, "retry_after": "17"},
            503,
            "Katana asks for a pause",
            "17",
        ),
        ({"fault": "status", "status": 403}, 200, "Katana does not let this app in", None),
        ({"fault": "status", "status": 422}, 200, "Katana did not understand this app", None),
        (
            {"fault": "status", "status": 401, "times": 2},
            200,
            "Katana does not accept the connection",
            None,
        ),
    ],
)
def test_when_katana_shows_nothing_the_page_says_why(
    app: Flask,
    ada: Maker,
    sandbox: Sandbox,
    fault: dict[str, object],
    status: int,
    title: str,
    retry_after: str | None,
) -> None:
    """S-81: a sentence in place of the data; the connection and the rest of the page stay."""
    sandbox.fault("api", **fault)  # type: ignore[arg-type]

    page = ada.dashboard()

    assert page.status == status
    assert page.headers.get("Retry-After") == retry_after
    assert f"<h2>{title}</h2>" in page.text
    assert ALDER in page.text
    assert history(page)[-1] == "Connected"
    assert page.form("/katana/disconnect")
    assert connection(app)
    sandbox.clear_faults()
    assert ada.dashboard().status in {200, 503}  # 503 while a renewal that was asked for pauses


@pytest.mark.one_database
def test_a_wrong_request_of_ours_is_logged(
    ada: Maker, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """What the people who run the app must see is an error in the log, without any body."""
    sandbox.fault("api", "status", status=422)

    ada.dashboard()

    assert "ApiRefused: GET /sales_orders: Katana answered 422" in caplog.text


@pytest.mark.one_database
def test_while_katana_renews_nothing_nothing_is_lost(
    app: Flask, ada: Maker, sandbox: Sandbox
) -> None:
    """S-81: with the token expired and the login away, the page says so and asks to come back."""
    sandbox.expire()
    sandbox.fault("refresh", "status", status=503, times=0)

    page = ada.dashboard()

    assert page.status == 503
    assert int(page.headers["Retry-After"]) >= 1
    assert "Katana does not answer" in page.text
    assert "Access not renewed" in history(page)
    assert connection(app)


def test_an_ended_grant_asks_to_reconnect(ada: Maker, sandbox: Sandbox) -> None:
    """One sentence and one button; after it everything is as before, history included."""
    sandbox.kill()
    page = ada.dashboard()

    assert page.status == 200
    assert f"{ALDER}</bdi> needs to be connected again" in page.text
    assert "Katana has ended this app&#39;s access, so " in page.text
    assert "Reconnect</button>" in page.text
    assert page.text.count('action="/katana/connect"') == 1
    assert history(page)[0] == "Access ended"

    page = ada.connect()

    assert len(rows(page, "Latest sales orders")) == 8
    assert history(page)[:2] == ["Connected again", "Access ended"]


@pytest.mark.one_database
def test_the_history_tells_one_connect_from_the_next(ada: Maker) -> None:
    """A connect in place of another is told as such; after a disconnect it is a first one."""
    ada.connect(factory="tallow-and-wick")
    ada.disconnect()
    page = ada.connect()

    assert history(page) == ["Connected", "Disconnected", "Connected again", "Connected"]


@pytest.mark.one_database
def test_the_history_tells_the_same_of_what_is_about_to_leave_it(ada: Maker) -> None:
    """The oldest that is shown may have come in place of one that is not shown any more."""
    for _ in range(10):
        page = ada.connect()

    assert history(page) == ["Connected again"] * 10


@pytest.mark.one_database
@pytest.mark.parametrize("reason", list(Reason))
def test_each_end_is_explained(app: Flask, ada: Maker, reason: Reason) -> None:
    """Whatever ended the access, there is a sentence for it."""
    with app.app_context():
        ended = {"status": "reconnect_needed", "reason": reason}
        db.session.execute(update(Connection).values(ended))
        db.session.commit()

    assert display.reason(reason).replace("'", "&#39;") in ada.dashboard().text


def test_a_token_moved_to_another_user_opens_nothing(
    app: Flask, new_maker: MakeMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """S-41: sealed tokens copied between rows show nobody's data, and harm no one else."""
    ada, bob = new_maker("ada"), new_maker("bob")
    for maker, factory in ((ada, None), (bob, "tallow-and-wick")):
        maker.sign_up()
        maker.connect(factory=factory)
    with app.app_context():
        of_bob = select(User.id).where(User.email == bob.email).scalar_subquery()
        theirs = select(Connection.sealed_access_token).where(Connection.user_id == of_bob)
        stolen = db.session.scalar(theirs)
        hers = update(Connection).where(Connection.user_id != of_bob)
        db.session.execute(hers.values(sealed_access_token=stolen))
        db.session.commit()

    page = ada.dashboard()

    assert "The keys to your Katana do not open here" in page.text
    assert "Tallow" not in page.text
    assert page.form("/katana/disconnect")
    assert "SealBroken" in caplog.text
    assert "Latest sales orders" in bob.dashboard().text


def test_no_transaction_is_open_while_katana_is_asked(new_app: MakeApp, sandbox: Sandbox) -> None:
    """A slow Katana holds no connection to the database, hence no other user's page."""
    busy: list[int] = []
    katana = Flask("katana")

    @katana.get("/v1/<path:_>")
    def answer(_: str) -> Answer:
        with app.app_context():
            busy.append(db.engine.pool.checkedout())  # type: ignore[attr-defined]
        return jsonify(data=[])

    with serving(katana) as url:
        app = new_app(KATANA_API_BASE_URL=f"{url}/v1")
        ada = Maker(ClientBrowser(app.test_client()), sandbox)
        ada.sign_up()
        page = ada.connect()

    assert "There are no sales orders in Katana yet." in page.text
    assert "There are no products in Katana yet." in page.text
    assert busy
    assert set(busy) == {0}


@pytest.mark.one_database
def test_text_from_katana_is_shown_as_text(new_app: MakeApp, sandbox: Sandbox) -> None:
    """S-17: names that customers gave themselves bring no markup into the page."""
    katana = Flask("katana")
    mark = "<script>canary</script>"
    answers: dict[str, object] = {
        "factory": {"display_name": mark},
        "sales_orders": {"data": [{"id": 1, "order_no": mark, "customer_id": 7, "status": mark}]},
        "customers": {"data": [{"id": 7, "name": mark}]},
        "products": {"data": [{"id": 1, "name": mark, "variants": [{"id": 1, "sku": mark}]}]},
        "inventory": {"data": []},
    }
    katana.add_url_rule("/v1/<name>", view_func=lambda name: jsonify(answers[name]))

    with serving(katana) as url:
        app = new_app(KATANA_API_BASE_URL=f"{url}/v1")
        ada = Maker(ClientBrowser(app.test_client()), sandbox)
        ada.sign_up()
        page = ada.connect()

    assert page.status == 200
    assert page.text.lower().count("&lt;script&gt;canary&lt;/script&gt;") >= 5
    assert "<script>" not in page.text


def test_values_look_like_people_write_them() -> None:
    """Sums have cents and a currency, quantities no idle zeros, moments their zone."""
    at = datetime(2026, 3, 9, 4, 5, 6, tzinfo=UTC)

    assert display.money(Decimal("1234.5000000000"), "EUR") == "1,234.50 EUR"
    assert display.money(None, "EUR") == ""
    assert display.quantity(Decimal("1200.00000")) == "1,200"
    assert display.quantity(Decimal("0.50000")) == "0.5"
    assert display.quantity(Decimal("0.00000")) == "0"
    assert display.status("NOT_SHIPPED") == "Not shipped"
    day = '<time datetime="2026-03-09T04:05:06+00:00" data-form="day">9 Mar 2026</time>'
    assert display.day(at) == day
    assert display.moment(at).endswith(">9 Mar 2026, 04:05 UTC</time>")
    assert display.day(None) == ""


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        *((0, "just now"), (59, "just now"), (60, "1 minute ago"), (301, "5 minutes ago")),
        *((7200, "2 hours ago"), (90_000, "1 day ago"), (10 * 86_400, "10 days ago")),
    ],
)
def test_how_long_ago_is_told_in_the_largest_unit(seconds: float, told: str) -> None:
    """Whole units, in plain words."""
    assert display.ago(seconds) == told


def test_how_often_is_told_with_thousands() -> None:
    """As people write it."""
    assert [display.times(n) for n in (1, 2, 1204)] == ["once", "2 times", "1,204 times"]


def test_renewals_push_nothing_off_the_history(app: Flask, ada: Maker, sandbox: Sandbox) -> None:
    """However often access was renewed, also by processes of an earlier version."""
    with app.app_context():
        row = db.session.scalars(select(Connection)).one()
        renewal = {"user_id": row.user_id, "connection_id": row.id, "kind": "refreshed"}
        for _ in range(20):
            db.session.add(ConnectionEvent(**renewal, at=datetime.now(UTC)))
        row.renewals = 1204
        db.session.commit()

    page = ada.dashboard()

    assert history(page) == ["Connected"]
    assert "<dt>Renewed 1,204 times</dt><dd>last " in page.text


def test_one_that_fails_alone_for_hours_is_offered_reconnect(
    app: Flask, new_maker: MakeMaker, sandbox: Sandbox
) -> None:
    """B5: Katana renews others; the page says so, and has the button that helps."""
    ada, ben = new_maker("ada"), new_maker("ben")
    for maker in (ada, ben):
        maker.sign_up()
        maker.connect()
    with app.app_context():
        id_of_ada = select(User.id).where(User.email == ada.email).scalar_subquery()
        since = SystemClock().database_time(-4 * 3600)
        before = SystemClock().database_time(-5 * 3600)
        failing = {"failures": 40, "failing_since": since, "refreshed_at": before}
        whose = update(Connection).where(Connection.user_id == id_of_ada)
        db.session.execute(whose.values(failing))
        db.session.commit()
    sandbox.expire()
    ben.dashboard()
    sandbox.fault("refresh", "body", status=403, text='{"error": "access_denied"}', times=0)

    page = ada.dashboard()

    assert page.status == 503
    assert "Katana refuses to renew this connection" in page.text
    assert page.form("/katana/connect")
    sandbox.clear_faults()
    assert ALDER in ada.connect().text


@pytest.mark.one_database
def test_a_new_token_that_katana_refuses_is_named(ada: Maker, sandbox: Sandbox) -> None:
    """B6: the page says that Katana refuses access, and when to come again."""
    sandbox.fault("api", "status", status=401, times=0)
    pages = [ada.dashboard() for _ in range(4)]

    assert pages[-1].status == 503
    assert "Katana refuses access" in pages[-1].text
    assert "Retry-After" in pages[-1].headers
    assert len(sandbox.ledger().of("refresh")) <= 3


@pytest.mark.one_database
def test_a_page_asks_no_longer_than_its_time(
    new_app: MakeApp, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A-12: a list of a thousand slow pages ends with the page's time, not with the list."""
    asked: list[str] = []
    katana = Flask("katana")

    @katana.get("/v1/<name>")
    def answer(name: str) -> Answer:
        asked.append(name)
        monkeypatch.setattr("app.katana.client.monotonic", lambda: clock.monotonic() + len(asked))
        records = [{"id": 1, "customer_id": 1, "name": "Oak", "variants": []}]
        page = jsonify(data=records)
        page.headers["X-Pagination"] = '{"total_pages": 200}'
        page.headers["X-Ratelimit-Limit"] = page.headers["X-Ratelimit-Remaining"] = "10000"
        return page

    clock = SystemClock()
    with serving(katana) as url:
        app = new_app(KATANA_API_BASE_URL=f"{url}/v1")
        ada = Maker(ClientBrowser(app.test_client()), sandbox)
        ada.sign_up()
        ada.connect()
        asked.clear()
        page = ada.dashboard()

    assert page.status == 503
    assert 8 < len(asked) <= PAGE_SECONDS + 1  # each answer took a second of that clock
