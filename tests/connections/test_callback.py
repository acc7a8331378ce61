"""Coming back from Katana while something is wrong with Katana, or with this app's settings.

What a stranger can do to the callback is in `tests/security/test_flow.py` and the files beside it.
"""

import logging

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import MakeApp
from tests.support.actors import ClientBrowser, Maker
from tests.support.rows import connection
from tests.support.sandbox import Sandbox

ALDER = "Alder &amp; Spoke Bicycles"
WICK = "tallow-and-wick"


@pytest.fixture
def ada(client: FlaskClient, sandbox: Sandbox) -> Maker:
    """A maker who is signed in, and whose browser is `client`."""
    ada = Maker(ClientBrowser(client), sandbox)
    ada.sign_up()
    return ada


@pytest.mark.one_database
def test_a_post_can_tell_of_a_refusal(ada: Maker, sandbox: Sandbox) -> None:
    """S-16: Cancel, posted, is the same calm page."""
    sandbox.rules(callback_method="post")

    page = ada.connect(decision="cancel")

    assert page.status == 200
    assert "You did not connect" in page.text


@pytest.mark.short_form(4)
@pytest.mark.one_database
@pytest.mark.parametrize(
    ("fault", "status", "title"),
    [
        ({"fault": "drop_before"}, 502, "Katana&#39;s answer did not arrive"),
        ({"fault": "lose_answer"}, 502, "Katana&#39;s answer did not arrive"),
        ({"fault": "status", "status": 503}, 502, "Katana&#39;s answer did not arrive"),
        ({"fault": "status", "status": 429}, 503, "Katana is busy"),
        ({"fault": "invalid_grant"}, 400, "Katana did not accept the approval"),
        ({"fault": "body", "text": "<html>"}, 502, "Katana&#39;s answer did not arrive"),
        ({"fault": "body", "text": "[]"}, 502, "Katana&#39;s answer did not arrive"),
        ({"fault": "redirect"}, 502, "Katana&#39;s answer did not arrive"),
        ({"fault": "omit", "fields": ["access_token"]}, 502, "Katana&#39;s answer did not"),
        ({"fault": "omit", "fields": ["refresh_token"]}, 502, "This app is not set up right"),
    ],
)
def test_an_exchange_that_fails_says_so(
    app: Flask,
    ada: Maker,
    sandbox: Sandbox,
    fault: dict[str, object],
    status: int,
    title: str,
) -> None:
    """S-33, S-81: the page tells, and what was there before is there still."""
    ada.connect()
    before = connection(app)
    sandbox.fault("exchange", **fault)  # type: ignore[arg-type]

    page = ada.connect(factory=WICK)

    assert page.status == status
    assert title in page.text
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert connection(app) == before
    assert ALDER in ada.dashboard().text


@pytest.mark.one_database
def test_katana_gone_says_so(new_app: MakeApp, sandbox: Sandbox) -> None:
    """S-81: where nothing listens, nothing was sent."""
    nowhere = {"KATANA_ACCESS_TOKEN_URL": "http://127.0.0.1:9/oauth/token"}
    ada = Maker(ClientBrowser(new_app(**nowhere).test_client()), sandbox)
    ada.sign_up()

    page = ada.connect()

    assert page.status == 503
    assert "Katana cannot be reached" in page.text
    assert page.headers["Retry-After"] == "60"


@pytest.mark.one_database
def test_our_own_wrong_secret_is_nobody_elses_fault(
    new_app: MakeApp, environ: dict[str, str], sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """S-33: the page says whose fault it is, the log says why, and neither tells the secret."""
    secret = "wrong-" + environ["KATANA_CLIENT_SECRET"]
    app = new_app(KATANA_CLIENT_SECRET=secret)
    ada = Maker(ClientBrowser(app.test_client()), sandbox)
    ada.sign_up()

    page = ada.connect()

    assert page.status == 502
    assert "This app is not set up right" in page.text
    assert "ClientRefused: Katana&#39;s login" not in page.text
    assert any(record.levelno == logging.ERROR for record in caplog.records)
    assert secret not in caplog.text + page.text


@pytest.mark.dashboard
@pytest.mark.one_database
def test_a_name_that_cannot_be_read_costs_nothing(ada: Maker, sandbox: Sandbox) -> None:
    """The connection stands before its name is asked for; the dashboard asks again."""
    sandbox.fault("api", "status", status=500)

    assert "Connected to Katana." in ada.connect().text
    assert ALDER in ada.dashboard().text
