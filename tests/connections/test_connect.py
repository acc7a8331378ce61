"""Connecting and disconnecting, as the user sees it and as Katana does."""

import pytest
from flask import Flask
from sqlalchemy import select

from app.connections.models import ConnectionEvent, EventKind
from app.database.db import db
from tests.conftest import MakeApp
from tests.support.actors import ClientBrowser, Maker
from tests.support.callbacks import query
from tests.support.rows import connection
from tests.support.sandbox import Sandbox

ALDER = "Alder &amp; Spoke Bicycles"
WICK = "tallow-and-wick"


@pytest.fixture
def ada(maker: Maker) -> Maker:
    """A maker who is signed in."""
    maker.sign_up()
    return maker


@pytest.mark.one_database
def test_katana_is_asked_for_exactly_what_is_documented(
    ada: Maker, environ: dict[str, str], sandbox: Sandbox
) -> None:
    """S-01, S-09, S-14: the authorization request holds these parameters and no other."""
    url = ada.begin()
    asked = query(url)

    assert url.startswith(environ["KATANA_AUTHORIZE_URL"] + "?")
    assert len(asked.pop("state")) >= 43
    assert len(asked.pop("code_challenge")) == 43
    assert asked == {
        "response_type": "code",
        "client_id": environ["KATANA_CLIENT_ID"],
        "redirect_uri": environ["KATANA_REDIRECT_URI"],
        "scope": "offline_access",
        "audience": environ["KATANA_AUDIENCE"],
        "code_challenge_method": "S256",
    }


@pytest.mark.one_database
def test_a_code_is_exchanged_with_exactly_what_is_documented(ada: Maker, sandbox: Sandbox) -> None:
    """S-34: the exchange sends these fields in its body, and nothing in an Authorization header."""
    ada.connect()

    (exchange,) = sandbox.ledger().of("exchange")
    assert exchange.fields == [
        "client_id",
        "client_secret",
        "code",
        "code_verifier",
        "grant_type",
        "redirect_uri",
    ]
    assert "authorization" not in exchange.headers


@pytest.mark.one_database
def test_without_pkce_there_is_no_challenge(new_app: MakeApp, sandbox: Sandbox) -> None:
    """KATANA_PKCE=off leaves out the challenge and the verifier, and connects."""
    app = new_app(KATANA_PKCE="off")
    ada = Maker(ClientBrowser(app.test_client()), sandbox)
    ada.sign_up()

    assert not {"code_challenge", "code_challenge_method"} & query(ada.begin()).keys()
    assert ALDER in ada.connect().text
    assert "code_verifier" not in sandbox.ledger().of("exchange")[0].fields


@pytest.mark.one_database
def test_cancelling_leaves_a_connection_alone(app: Flask, ada: Maker, sandbox: Sandbox) -> None:
    """Who only looked, keeps what there was."""
    ada.connect()
    before = connection(app)

    page = ada.connect(decision="cancel")

    assert (page.status, page.headers["Referrer-Policy"]) == (200, "strict-origin")
    assert "nothing was changed" in page.text
    assert page.form("/katana/connect")
    assert connection(app) == before


def test_disconnecting_deletes_and_revokes(app: Flask, ada: Maker, sandbox: Sandbox) -> None:
    """S-48: the row is gone, Katana has revoked, and the page says both."""
    ada.connect()

    page = ada.disconnect()

    assert "and Katana confirmed that access is revoked." in page.text
    assert "Connect your Katana account" in page.text
    assert connection(app) is None
    assert [family.state for family in sandbox.ledger().families] == ["dead"]
    (revoke,) = sandbox.ledger().of("revoke")
    assert revoke.fields == ["client_id", "client_secret", "token"]


@pytest.mark.one_database
def test_disconnecting_where_katana_revokes_nothing(new_app: MakeApp, sandbox: Sandbox) -> None:
    """S-48: without a revocation URL the page does not claim more than was done."""
    app = new_app(KATANA_REVOKE_URL="")
    ada = Maker(ClientBrowser(app.test_client()), sandbox)
    ada.sign_up()
    ada.connect()

    assert "Nothing was changed in Katana itself." in ada.disconnect().text
    assert connection(app) is None
    assert not sandbox.ledger().of("revoke")


@pytest.mark.one_database
def test_disconnecting_twice_is_no_error(ada: Maker) -> None:
    """A second press, from another tab, finds nothing and says so."""
    ada.connect()
    page = ada.dashboard()
    ada.disconnect()

    ada.submit(page, "/katana/disconnect")

    assert "Katana was not connected any more." in ada.dashboard().text


@pytest.mark.dashboard
@pytest.mark.one_database
def test_the_history_outlives_the_connection(app: Flask, ada: Maker) -> None:
    """What happened stays on record after disconnecting."""
    ada.connect()
    page = ada.disconnect()

    assert "History of the connection" in page.text
    with app.app_context():
        kinds = db.session.scalars(select(ConnectionEvent.kind).order_by(ConnectionEvent.id)).all()
    assert kinds == [EventKind.CONNECTED, EventKind.DISCONNECTED]
