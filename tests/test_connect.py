"""Connecting and disconnecting, as the user sees it and as Katana does."""

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.db import db
from app.models import ConnectAttempt, ConnectionEvent, EventKind, UserSession
from tests.actors import ClientBrowser, Maker
from tests.callbacks import query
from tests.conftest import MakeApp, MakeMaker
from tests.rows import connection
from tests.sandbox import Sandbox

ALDER = "Alder &amp; Spoke Bicycles"
WICK = "tallow-and-wick"


@pytest.fixture
def ada(maker: Maker) -> Maker:
    """A maker who is signed in."""
    maker.sign_up()
    return maker


def test_connecting_shows_the_factory_and_whose_account_it_is(ada: Maker) -> None:
    """S-45: the page names the Katana account, and the account here that it belongs to now."""
    page = ada.connect()

    assert page.status == 200
    assert f"Connected to {ALDER}." in page.text
    assert ada.email in page.text


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


def test_reconnecting_with_another_account_says_so(ada: Maker) -> None:
    """S-47: the page names the account before and the one now."""
    ada.connect()

    page = ada.connect(factory=WICK)

    assert f"Connected to Tallow &amp; Wick. Before, this was {ALDER}." in page.text


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


def test_each_user_sees_their_own(new_maker: MakeMaker) -> None:
    """S-44, S-46: two users may connect, each sees their own, even of the same Katana account."""
    ada, bob, eve = new_maker("ada"), new_maker("bob"), new_maker("eve")
    for maker in (ada, bob, eve):
        maker.sign_up()

    ada.connect()
    bob.connect(factory=WICK)

    assert ALDER in ada.dashboard().text
    assert ALDER not in bob.dashboard().text
    assert "Connect your Katana account" in eve.dashboard().text
    bob.disconnect()
    assert ALDER in ada.dashboard().text


def test_disconnecting_deletes_and_revokes(app: Flask, ada: Maker, sandbox: Sandbox) -> None:
    """S-48: the row is gone, Katana has revoked, and the page says both."""
    ada.connect()

    page = ada.disconnect()

    assert "Katana has withdrawn its permission as well." in page.text
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

    assert "Nothing was withdrawn at Katana itself." in ada.disconnect().text
    assert connection(app) is None
    assert not sandbox.ledger().of("revoke")


@pytest.mark.one_database
@pytest.mark.parametrize("fault", [{"fault": "status", "status": 503}, {"fault": "drop_before"}])
def test_disconnecting_while_katana_is_away(
    app: Flask, ada: Maker, sandbox: Sandbox, fault: dict[str, object]
) -> None:
    """S-48: our side is deleted in any case, and the page says what Katana did not confirm."""
    ada.connect()
    sandbox.fault("revoke", **fault)  # type: ignore[arg-type]

    page = ada.disconnect()

    assert "Katana did not confirm that it withdrew its permission." in page.text
    assert connection(app) is None


@pytest.mark.one_database
def test_disconnecting_twice_is_no_error(ada: Maker) -> None:
    """A second press, from another tab, finds nothing and says so."""
    ada.connect()
    page = ada.dashboard()
    ada.disconnect()

    ada.submit(page, "/katana/disconnect")

    assert "Katana was not connected any more." in ada.dashboard().text


def test_attempts_end_with_the_session(app: Flask, ada: Maker) -> None:
    """S-49: signing out takes the attempts of that browser session along."""
    ada.begin()
    ada.sign_out()

    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(UserSession)) == 0
        assert db.session.scalar(select(func.count()).select_from(ConnectAttempt)) == 0


@pytest.mark.one_database
def test_the_history_outlives_the_connection(app: Flask, ada: Maker) -> None:
    """What happened stays on record after disconnecting."""
    ada.connect()
    page = ada.disconnect()

    assert "History of the connection" in page.text
    with app.app_context():
        kinds = db.session.scalars(select(ConnectionEvent.kind).order_by(ConnectionEvent.id)).all()
    assert kinds == [EventKind.CONNECTED, EventKind.DISCONNECTED]
