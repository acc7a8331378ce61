"""Connecting and disconnecting: the row, the history and the signals, whoever comes in between."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from uuid import UUID

import pytest
from sqlalchemy import delete, literal
from sqlalchemy.engine import make_url

from app.accounts.models import User
from app.connections import history, lifecycle
from app.connections.attempts import hash_of
from app.connections.history import Event, signal
from app.connections.lifecycle import NAME_CHARACTERS, STORE_ATTEMPTS, Lifecycle, Revocation
from app.connections.models import EventKind, Reason, Status
from app.database.db import db
from app.errors import NotConnected, SealBroken
from app.katana.oauth import KatanaLogin
from tests.support.connected import Connected, MakeConnected, refresh
from tests.support.lifecycle import (
    GRANT,
    Asked,
    Interrupted,
    changes,
    connect,
    disconnect,
    is_connected,
)

THREADS = 8


@pytest.fixture
def ada(new_connected: MakeConnected) -> Connected:
    """A connected user."""
    return new_connected()


def test_a_first_connect_makes_a_row(ada: Connected) -> None:
    """The grant is sealed, its life is counted from now, and the history begins."""
    row = ada.row()

    assert row.status is Status.ACTIVE
    assert row.reason is None
    assert row.generation == 1
    assert row.parent_generation is None
    assert row.connected_by == hash_of("state")
    assert row.scope == "offline_access"
    assert row.sent_at is None
    assert row.renew_at < row.expires_at
    assert ada.holds_the_living_token()
    assert ada.history() == [(EventKind.CONNECTED, None)]


@pytest.mark.both_databases
def test_a_reconnect_takes_the_place_of_the_connection(ada: Connected) -> None:
    """Same row, next generation; whatever was wrong or under way with the old grant is gone."""
    ada.change(
        status=Status.RECONNECT_NEEDED,
        reason=Reason.GRANT_ENDED,
        factory_name="Oak & Ash",
        lease_owner="somebody",
        lease_until=60,
        sent_at=-1,
        doubtful_since=-2,
        refused_at=-1,
        next_attempt_at=300,
        parent_generation=literal(0),
        failures=literal(3),
    )

    stored = connect(ada)

    assert stored.connection_id == ada.id
    assert stored.previous_factory == "Oak & Ash"
    row = ada.row()
    assert (row.status, row.reason) == (Status.ACTIVE, None)
    assert (row.generation, row.parent_generation, row.fence) == (2, None, 1)
    assert (row.lease_owner, row.lease_until) == (None, None)
    assert (row.sent_at, row.doubtful_since, row.refused_at) == (None, None, None)
    assert (row.next_attempt_at, row.failures) == (None, 0)
    assert row.connected_by == hash_of("another")
    assert ada.stored_refresh_token() == GRANT.refresh_token
    assert changes(ada) == [EventKind.CONNECTED, EventKind.CONNECTED]


def test_connecting_again_after_a_disconnect_begins_anew(ada: Connected) -> None:
    """A new row with an id of its own: nothing that was sealed for the old one opens in it."""
    disconnect(ada)

    stored = connect(ada)

    assert stored.connection_id != ada.id
    assert stored.previous_factory is None


@pytest.mark.both_databases
def test_two_first_connects_at_once_end_with_one_row(new_connected: MakeConnected) -> None:
    """S-46: of eight tabs the last one's grant is stored, whole, and none of them fails."""
    ada = new_connected()
    disconnect(ada)
    start = Barrier(THREADS)

    def come_back(n: int) -> UUID:
        start.wait()
        grant = replace(GRANT, refresh_token=f"refresh-{n}")
        return connect(ada, grant, f"state-{n}").connection_id

    with ThreadPoolExecutor(THREADS) as pool:
        ids = set(pool.map(come_back, range(THREADS)))

    (ada.id,) = ids
    row = ada.row()
    assert row.generation == THREADS
    assert row.connected_by in {hash_of(f"state-{n}") for n in range(THREADS)}
    last = ada.stored_refresh_token().removeprefix("refresh-")
    assert row.connected_by == hash_of(f"state-{last}")
    assert changes(ada).count(EventKind.CONNECTED) == 1 + THREADS


@pytest.mark.both_databases
def test_a_first_connect_overtaken_by_another_takes_its_place(ada: Connected) -> None:
    """Between looking and storing another tab stores: the one that comes later is kept."""
    disconnect(ada)
    other = replace(GRANT, refresh_token="refresh-of-the-other-tab")
    vault = Interrupted(ada, lambda: connect(ada, other, "other"))

    ada.id = connect(ada, vault=vault).connection_id

    assert ada.row().generation == 2
    assert ada.stored_refresh_token() == GRANT.refresh_token


def test_a_reconnect_overtaken_by_a_disconnect_is_stored_all_the_same(ada: Connected) -> None:
    """The grant that Katana has just given is not lost because the row before it has gone."""
    vault = Interrupted(ada, lambda: disconnect(ada))

    ada.id = connect(ada, vault=vault).connection_id

    assert ada.row().generation == 1
    assert ada.stored_refresh_token() == GRANT.refresh_token
    assert changes(ada)[-2:] == [EventKind.DISCONNECTED, EventKind.CONNECTED]


def test_a_grant_for_who_is_gone_is_withdrawn(ada: Connected) -> None:
    """S-49: it would be nobody's; no transaction is open while Katana is asked."""
    taken = []

    def look() -> None:
        with ada.app.app_context():
            taken.append(db.engine.pool.checkedout())  # type: ignore[attr-defined]

    with ada.app.app_context():
        db.session.execute(delete(User))
        db.session.commit()
    with pytest.raises(NotConnected):
        connect(ada, login=Asked(KatanaLogin(ada.settings.katana), look))

    assert taken == [0]
    assert len(ada.sandbox.ledger().of("revoke")) == 1


@pytest.mark.one_database
def test_a_grant_for_who_is_gone_may_stay_valid(
    ada: Connected, caplog: pytest.LogCaptureFixture
) -> None:
    """S-49: where Katana does not revoke it, the log says so, and the user is told the same."""
    ada.sandbox.fault("revoke", "drop_before")
    with ada.app.app_context():
        db.session.execute(delete(User))
        db.session.commit()

    with pytest.raises(NotConnected):
        connect(ada)

    assert "a grant that was not stored could not be revoked" in caplog.text
    assert GRANT.refresh_token not in caplog.text


def test_a_grant_that_is_overtaken_for_ever_is_not_withdrawn(ada: Connected) -> None:
    """Withdrawing it could end the grant of the tab that came in between each time."""

    def come_between() -> None:
        disconnect(ada)
        connect(ada, other, "other")

    other = replace(GRANT, refresh_token="refresh-of-the-other-tab")
    vault = Interrupted(ada, come_between)
    vault.left *= 2 * STORE_ATTEMPTS  # for each try seals twice
    withdrawn: list[None] = []
    login = Asked(KatanaLogin(ada.settings.katana), lambda: withdrawn.append(None))

    with pytest.raises(NotConnected):
        connect(ada, vault=vault, login=login)

    assert not withdrawn
    assert is_connected(ada)


def test_a_repeat_is_told_from_a_forgery(ada: Connected, new_connected: MakeConnected) -> None:
    """S-12: the state that made this connection is known, for this user alone."""
    ben = new_connected("ben")
    connect(ada, state="mine")

    with ada.app.app_context():
        assert lifecycle.finished(ada.user_id, "mine")
        assert not lifecycle.finished(ada.user_id, "state")
        assert not lifecycle.finished(ada.user_id, "forged")
        assert not lifecycle.finished(ben.user_id, "mine")
    disconnect(ada)
    with ada.app.app_context():
        assert not lifecycle.finished(ada.user_id, "mine")


def test_a_factory_gets_its_name(ada: Connected, new_connected: MakeConnected) -> None:
    """The name is kept as far as there is room, for this connection alone."""
    ben = new_connected("ben")
    with ada.app.app_context():
        login = KatanaLogin(ada.settings.katana)
        naming = Lifecycle(login, ada.vault, ada.clock).name_factory
        naming(ada.id, ada.row().connected_by, "Ö" * (NAME_CHARACTERS + 1))

    assert ada.row().factory_name == "Ö" * NAME_CHARACTERS
    assert ben.row().factory_name is None


def test_a_name_that_comes_late_is_not_given_to_the_next_account(ada: Connected) -> None:
    """Katana was slow to say what the account was called; the user has connected another since."""
    before = ada.row().connected_by
    connect(ada)
    with ada.app.app_context():
        login = KatanaLogin(ada.settings.katana)
        Lifecycle(login, ada.vault, ada.clock).name_factory(ada.id, before, "The first account")

    assert ada.row().factory_name is None


def test_tokens_of_another_row_do_not_open(ada: Connected, new_connected: MakeConnected) -> None:
    """S-41: pasted into one's own row they are worth nothing, and harm nobody else."""
    ben = new_connected("ben")
    theirs = ben.row()
    ada.change(
        sealed_access_token=theirs.sealed_access_token,
        sealed_refresh_token=theirs.sealed_refresh_token,
    )

    with pytest.raises(SealBroken):
        refresh(ada.parts()).fresh_access_token(ada.id)

    assert ada.row().status is Status.ACTIVE
    assert refresh(ben.parts()).fresh_access_token(ben.id)
    assert ben.refreshes() == 0


def test_swapped_tokens_do_not_open(ada: Connected) -> None:
    """S-41: an access token does not pass for a refresh token."""
    row = ada.row()
    ada.change(
        sealed_access_token=row.sealed_refresh_token, sealed_refresh_token=row.sealed_access_token
    )

    with pytest.raises(SealBroken):
        refresh(ada.parts()).fresh_access_token(ada.id)
    with pytest.raises(SealBroken):
        ada.stored_refresh_token()


@pytest.mark.own_stage
@pytest.mark.one_database
def test_no_token_is_in_the_database_as_it_is(ada: Connected) -> None:
    """S-40: neither the file nor what stands beside it holds a token, a state or a secret."""
    file = Path(make_url(ada.settings.database_url).database or "")
    connect(ada, state="canary-state-91")

    held = b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))

    assert b"ada@workshop.example" in held
    assert b"canary" not in held
    assert ada.settings.katana.client_secret.encode() not in held


def heard(kind: EventKind, during: Callable[[], object]) -> list[Event]:
    """What a fork's receiver of `kind` is told meanwhile."""
    told: list[Event] = []
    with signal(kind).connected_to(told.append):
        during()
    return told


def test_a_fork_is_told_what_happens(ada: Connected) -> None:
    """Whoever subscribed gets user, connection and detail, once for each change."""
    connected = heard(EventKind.CONNECTED, lambda: connect(ada))
    disconnected = heard(EventKind.DISCONNECTED, lambda: disconnect(ada))

    assert connected == [Event(EventKind.CONNECTED, ada.user_id, ada.id)]
    assert disconnected == [Event(EventKind.DISCONNECTED, ada.user_id, ada.id, Revocation.REVOKED)]


def test_a_fork_is_told_once_it_is_true(ada: Connected) -> None:
    """A receiver that looks at the database finds what it was told."""
    found = []

    def receiver(_event: Event) -> None:
        found.append(is_connected(ada))

    with signal(EventKind.DISCONNECTED).connected_to(receiver):
        disconnect(ada)
    with signal(EventKind.CONNECTED).connected_to(receiver):
        connect(ada)

    assert found == [False, True]


def test_a_receiver_that_raises_harms_nothing(
    ada: Connected, caplog: pytest.LogCaptureFixture
) -> None:
    """A fork's mistake is logged; the grant is stored, and the other receivers are told."""

    def broken(_event: Event) -> None:
        raise LookupError("a mistake of the fork")

    with signal(EventKind.CONNECTED).connected_to(broken):
        told = heard(EventKind.CONNECTED, lambda: connect(ada))

    assert len(told) == 1
    assert ada.stored_refresh_token() == GRANT.refresh_token
    assert "a mistake of the fork" in caplog.text


def test_the_log_tells_what_happens_and_no_secret(
    ada: Connected, caplog: pytest.LogCaptureFixture
) -> None:
    """S-37, S-80: a line for each change, with ids only."""
    caplog.set_level(logging.DEBUG)
    connect(ada, state="canary-state-91")
    disconnect(ada)

    assert f"connection {ada.id} of user {ada.user_id}: connected" in caplog.text
    assert f"connection {ada.id} of user {ada.user_id}: disconnected (revoked)" in caplog.text
    assert "canary" not in caplog.text
    assert "ada@workshop" not in caplog.text


def test_the_history_is_read_from_its_end(ada: Connected, new_connected: MakeConnected) -> None:
    """The latest events of this user, newest first; it outlives the connection."""
    new_connected("ben")
    connect(ada)
    disconnect(ada)

    with ada.app.app_context():
        latest = history.history(ada.user_id, limit=2)

        assert [event.kind for event in latest] == [EventKind.DISCONNECTED, EventKind.CONNECTED]
        assert {event.connection_id for event in latest} == {ada.id}
        assert all(event.at.astimezone(UTC) <= datetime.now(UTC) for event in latest)
