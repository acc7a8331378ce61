"""The dashboard when Katana cannot be read: what it shows instead, and what it advises."""

import re

import pytest
from flask import Flask, jsonify
from flask import Response as Answer
from sqlalchemy import select, update

from app.accounts.models import User
from app.connections.models import Connection, Reason
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


@pytest.mark.short_form(4)
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


@pytest.mark.short_form(2)
@pytest.mark.one_database
@pytest.mark.parametrize("reason", list(Reason))
def test_each_end_is_explained(app: Flask, ada: Maker, reason: Reason) -> None:
    """Whatever ended the access, there is a sentence for it."""
    with app.app_context():
        ended = {"status": "reconnect_needed", "reason": reason}
        db.session.execute(update(Connection).values(ended))
        db.session.commit()

    assert display.reason(reason).replace("'", "&#39;") in ada.dashboard().text


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
