"""The dashboard: a factory read live, its history, and text from Katana."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from flask import Flask, jsonify
from flask import Response as Answer
from sqlalchemy import select, update

from app.accounts.models import User
from app.connections.models import Connection, ConnectionEvent
from app.database.db import db
from app.pages import display
from tests.conftest import MakeApp, MakeMaker
from tests.support.actors import ClientBrowser, Maker
from tests.support.pages import Page, rows
from tests.support.sandbox import Sandbox
from tests.support.servers import serving


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
