"""Disconnecting: Katana is told, and nothing is left, whatever comes in between."""

from dataclasses import replace
from typing import Any

import pytest

from app.connections.lifecycle import Revocation
from app.connections.models import EventKind
from app.connections.vault import Vault
from app.database.db import db
from app.katana.oauth import KatanaLogin
from tests.support.connected import Connected, MakeConnected, refresh
from tests.support.lifecycle import GRANT, Asked, changes, connect, disconnect, is_connected
from tests.support.wire import wire


@pytest.fixture
def ada(new_connected: MakeConnected) -> Connected:
    """A connected user."""
    return new_connected()


def test_disconnecting_revokes_and_forgets(ada: Connected, new_connected: MakeConnected) -> None:
    """S-48: the grant ends at Katana, the row is gone; nobody else's is touched."""
    ben = new_connected("ben")

    assert disconnect(ada) is Revocation.REVOKED

    assert not is_connected(ada)
    assert ada.family().state == "dead"
    assert ada.history()[-1] == (EventKind.DISCONNECTED, "revoked")
    assert ben.holds_the_living_token()
    assert ben.family().state == "live"
    assert changes(ben) == [EventKind.CONNECTED]


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "status", "status": 400},
        {"fault": "status", "status": 503},
        {"fault": "drop_before"},
        {"fault": "redirect"},
    ],
    ids=str,
)
@pytest.mark.one_database
def test_disconnecting_does_not_depend_on_katana(ada: Connected, fault: dict[str, Any]) -> None:
    """S-48: however the revocation fails, the tokens are deleted, and the user is told."""
    ada.sandbox.fault("revoke", **fault)

    assert disconnect(ada) is Revocation.FAILED

    assert not is_connected(ada)
    assert ada.history()[-1] == (EventKind.DISCONNECTED, "failed")


def test_disconnecting_while_katana_cannot_be_reached(ada: Connected) -> None:
    """S-48: a login that is down keeps nobody connected."""
    with wire(lambda peer: peer.wait()) as server:
        closed = replace(ada.settings.katana, revoke_url=f"{server.url}/oauth/revoke")

    assert disconnect(ada, KatanaLogin(closed)) is Revocation.FAILED
    assert not is_connected(ada)


def test_without_a_revocation_url_nothing_is_asked(ada: Connected) -> None:
    """Where Katana offers no revocation, disconnecting deletes the tokens here and says so."""
    no_url = KatanaLogin(replace(ada.settings.katana, revoke_url=None))

    assert disconnect(ada, no_url) is Revocation.NOT_OFFERED

    assert not is_connected(ada)
    assert ada.sandbox.ledger().of("revoke") == []
    assert ada.history()[-1] == (EventKind.DISCONNECTED, "not_offered")


def test_a_token_that_does_not_open_can_be_disconnected(ada: Connected) -> None:
    """R-24: with a wrong key nothing can be revoked, but everything can be forgotten."""
    wrong = Vault([replace(ada.settings.token_keys[0], key=b"0123456789abcdef" * 2)])

    assert disconnect(ada, vault=wrong) is Revocation.FAILED

    assert not is_connected(ada)
    assert ada.sandbox.ledger().of("revoke") == []


def test_disconnecting_twice_is_disconnecting_once(ada: Connected) -> None:
    """Where there is no connection nothing happens, and nothing is told."""
    disconnect(ada)

    assert disconnect(ada) is None
    assert changes(ada) == [EventKind.CONNECTED, EventKind.DISCONNECTED]


@pytest.mark.both_databases
def test_two_disconnects_at_once_are_one(ada: Connected) -> None:
    """A double click: the one that comes late finds nothing more to end, and tells nothing."""
    login = Asked(KatanaLogin(ada.settings.katana), lambda: disconnect(ada))

    assert disconnect(ada, login) is None
    assert changes(ada) == [EventKind.CONNECTED, EventKind.DISCONNECTED]


def test_a_grant_that_comes_during_a_disconnect_stays(ada: Connected) -> None:
    """Another tab has connected anew while Katana was asked: that was the user's last word."""
    login = Asked(KatanaLogin(ada.settings.katana), lambda: connect(ada))

    disconnect(ada, login)

    assert ada.stored_refresh_token() == GRANT.refresh_token
    assert changes(ada) == [EventKind.CONNECTED, EventKind.CONNECTED]


def test_a_token_that_came_during_a_disconnect_is_revoked_too(ada: Connected) -> None:
    """S-48: a page has renewed it meanwhile, and RFC 7009 lets the one before mean nothing."""
    before = ada.stored_refresh_token()
    after: list[str] = []

    def renew() -> None:
        if not after:
            ada.expire()
            refresh(ada.parts()).fresh_access_token(ada.id)
            after.append(ada.stored_refresh_token())

    login = Asked(KatanaLogin(ada.settings.katana), renew)

    assert disconnect(ada, login) is Revocation.REVOKED
    assert login.revoked == [before, *after]
    assert not is_connected(ada)
    assert changes(ada)[-1] is EventKind.DISCONNECTED


@pytest.mark.both_databases
def test_no_transaction_is_open_while_katana_is_asked(ada: Connected) -> None:
    """R-21: a slow Katana holds up no row and no connection to the database."""
    taken = []

    def look() -> None:
        with ada.app.app_context():
            taken.append(db.engine.pool.checkedout())  # type: ignore[attr-defined]

    disconnect(ada, Asked(KatanaLogin(ada.settings.katana), look))

    assert taken == [0]
