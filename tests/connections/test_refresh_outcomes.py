"""A refresh that fails: which answers end a connection, and which only make it wait."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.connections.backoff import (
    SETTLE_SECONDS,
)
from app.connections.models import EventKind, Reason, Status
from app.connections.vault import Vault
from app.errors import (
    ReconnectNeeded,
    SealBroken,
    TryAgainLater,
)
from app.katana.oauth import DEFAULT_LIFETIME_SECONDS, KatanaLogin
from tests.support.clocks import HeldClock
from tests.support.connected import Connected, Parts, refresh
from tests.support.refreshing import LONG_SECONDS, look
from tests.support.wire import answer, answering, wire


@pytest.fixture
def clock() -> HeldClock:
    """Time stands still unless it is moved; waiting costs nothing."""
    return HeldClock()


@pytest.mark.both_databases
@pytest.mark.parametrize("overlap", [0, 30])
def test_a_lost_answer_is_asked_for_once_more(
    connected: Connected, parts: Parts, clock: HeldClock, overlap: int
) -> None:
    """R-2: with an overlap the connection heals in the same call; without one it is lost."""
    connected.sandbox.rules(rotation_overlap_seconds=overlap)
    connected.sandbox.fault("refresh", "lose_answer")
    clock.move(61)

    if overlap:
        refresh(parts).fresh_access_token(connected.id)
        assert connected.holds_the_living_token()
        assert connected.family().state == "live"
    else:
        with pytest.raises(ReconnectNeeded, match="answer_lost"):
            refresh(parts).fresh_access_token(connected.id)
        assert connected.row().reason is Reason.ANSWER_LOST
    assert connected.refreshes() == 2


def test_a_lost_answer_is_asked_for_while_the_access_token_still_lives(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """R-0.7: a doubt is settled at once, since an overlap may be short."""
    connected.sandbox.rules(rotation_overlap_seconds=30)
    connected.sandbox.fault("refresh", "lose_answer")
    clock.move(54)
    first = refresh(parts).fresh_access_token(connected.id)
    assert connected.refreshes() == 1

    clock.move(SETTLE_SECONDS)
    second = refresh(parts).fresh_access_token(connected.id)

    assert second != first
    assert connected.holds_the_living_token()


def test_an_answer_lost_in_an_outage_is_named_as_the_cause(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """R-2: Katana was away in between and refuses twice; the token is spent by our own hand."""
    closed = replace(parts.login.settings, access_token_url="http://127.0.0.1:9/oauth/token")
    away = replace(parts, login=KatanaLogin(closed))
    connected.sandbox.fault("refresh", "lose_answer")
    for there in (parts, away):
        clock.move(LONG_SECONDS)
        assert not refresh(there).try_refresh(look(parts, connected))
    clock.move(LONG_SECONDS)

    with pytest.raises(ReconnectNeeded, match="answer_lost"):
        refresh(parts).fresh_access_token(connected.id)


def test_a_request_that_never_arrived_loses_nothing(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """R-2: closed before Katana did anything, the one repeat gets the tokens."""
    connected.sandbox.fault("refresh", "drop_before")
    clock.move(61)

    refresh(parts).fresh_access_token(connected.id)

    assert connected.holds_the_living_token()


def test_one_refusal_is_not_believed(connected: Connected, parts: Parts, clock: HeldClock) -> None:
    """R-13: a single invalid_grant that Katana did not mean ends nothing."""
    connected.sandbox.fault("refresh", "invalid_grant")
    clock.move(61)

    refresh(parts).fresh_access_token(connected.id)

    assert connected.row().status is Status.ACTIVE
    assert connected.row().refused_at is None
    assert connected.holds_the_living_token()


def test_a_grant_that_katana_ended_needs_a_reconnect(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """R-18: refused twice, the connection says so, and Katana is not asked any more."""
    connected.sandbox.kill(connected.family_id)
    clock.move(61)

    for _ in range(3):
        with pytest.raises(ReconnectNeeded, match="grant_ended"):
            refresh(parts).fresh_access_token(connected.id)

    assert connected.refreshes() == 2
    assert connected.row().status is Status.RECONNECT_NEEDED
    assert connected.history()[-1] == (EventKind.RECONNECT_NEEDED, "grant_ended")


FAULTS = [
    ("status", {"status": 500}, "answer_lost"),
    ("status", {"status": 502}, "answer_lost"),
    ("status", {"status": 503}, "answer_lost"),
    ("status", {"status": 429, "retry_after": "30"}, "login_busy"),
    ("redirect", {"location": "http://127.0.0.1:9/elsewhere"}, "answer_lost"),
    ("body", {"text": "<html>hello"}, "answer_lost"),
    ("body", {"text": "[]"}, "answer_lost"),
    ("body", {"text": '{"access_token": "a", "access_token": "b"}'}, "answer_lost"),
    ("body", {"text": '{"token_type": "mac", "access_token": "a"}'}, "answer_lost"),
    ("body", {"text": '{"token_type": "bearer", "access_token": "a\\r\\nb"}'}, "answer_lost"),
    ("body", {"text": '{"error": "temporarily_unavailable"}'}, "answer_lost"),
    ("omit", {"fields": ["access_token"]}, "no_access_token"),
]


@pytest.mark.parametrize(("fault", "details", "word"), FAULTS)
@pytest.mark.one_database
def test_trouble_at_katana_never_ends_a_connection(
    connected: Connected,
    parts: Parts,
    clock: HeldClock,
    fault: str,
    details: dict[str, object],
    word: str,
) -> None:
    """R-10, R-11: only a confirmed refusal changes the status; all callers share a pause."""
    connected.sandbox.fault("refresh", fault, times=0, **details)
    clock.move(61)

    with pytest.raises(TryAgainLater):
        refresh(parts).fresh_access_token(connected.id)

    row = connected.row()
    assert row.status is Status.ACTIVE
    assert row.next_attempt_at
    assert row.next_attempt_at > clock.moment
    assert (EventKind.REFRESH_FAILED, word) in connected.history()
    asked = connected.refreshes()
    assert asked <= 2
    with pytest.raises(TryAgainLater):
        refresh(parts).fresh_access_token(connected.id)
    assert connected.refreshes() == asked


def test_a_wrong_client_secret_is_nobodys_loss(
    connected: Connected, clock: HeldClock, caplog: pytest.LogCaptureFixture
) -> None:
    """R-13: our own credentials refused is an alarm for us; put right, the connection goes on."""
    right = connected.parts()
    wrong = replace(right.login.settings, client_secret="not the right one")
    clock.move(61)

    with pytest.raises(TryAgainLater):
        refresh(replace(right, login=KatanaLogin(wrong))).fresh_access_token(connected.id)
    assert "check KATANA_CLIENT_ID and KATANA_CLIENT_SECRET" in caplog.text
    assert "not the right one" not in caplog.text
    assert connected.row().status is Status.ACTIVE

    clock.move(LONG_SECONDS)
    refresh(right).fresh_access_token(connected.id)
    assert connected.holds_the_living_token()


def test_a_closed_door_leaves_no_doubt(connected: Connected, clock: HeldClock) -> None:
    """R-3: what was never sent cannot have spent the token."""
    parts = connected.parts()
    closed = replace(parts.login.settings, access_token_url="http://127.0.0.1:9/oauth/token")
    clock.move(61)

    with pytest.raises(TryAgainLater):
        refresh(replace(parts, login=KatanaLogin(closed))).fresh_access_token(connected.id)

    row = connected.row()
    assert row.sent_at is None
    assert row.doubtful_since is None
    assert row.lease_owner is None


def test_retry_after_is_kept_by_everybody(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """R-11: nobody asks before Katana's own time is over, and not for ever either."""
    connected.sandbox.fault("refresh", "status", status=429, retry_after="120")
    clock.move(61)
    with pytest.raises(TryAgainLater) as told:
        refresh(parts).fresh_access_token(connected.id)

    assert told.value.retry_after >= 120
    clock.move(100)
    with pytest.raises(TryAgainLater):
        refresh(parts).fresh_access_token(connected.id)
    assert connected.refreshes() == 1
    clock.move(120)
    refresh(parts).fresh_access_token(connected.id)


def test_an_answer_without_a_refresh_token_keeps_the_old_one(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """S-32: nothing given is nothing taken away."""
    before = connected.stored_refresh_token()
    connected.sandbox.fault("refresh", "omit", fields=["refresh_token"])
    clock.move(61)

    refresh(parts).fresh_access_token(connected.id)

    assert connected.stored_refresh_token() == before


def test_an_answer_without_a_lifetime_gets_a_short_one(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """S-31: never an endless life, which nobody would renew."""
    connected.sandbox.fault("refresh", "omit", fields=["expires_in"])
    clock.move(61)

    refresh(parts).fresh_access_token(connected.id)

    life = connected.row().expires_at - clock.moment
    assert life <= timedelta(seconds=DEFAULT_LIFETIME_SECONDS)


def test_a_token_that_does_not_open_ends_nothing(connected: Connected, clock: HeldClock) -> None:
    """S-42: with a wrong key nothing is sent and nothing is lost; with the right one it goes on."""
    parts = connected.parts()
    wrong = Vault([replace(connected.settings.token_keys[0], key=b"0123456789abcdef" * 2)])
    clock.move(61)

    with pytest.raises(SealBroken):
        refresh(replace(parts, vault=wrong)).fresh_access_token(connected.id)

    assert connected.refreshes() == 0
    assert connected.row().status is Status.ACTIVE
    clock.move(61)
    refresh(parts).fresh_access_token(connected.id)


def test_a_sealed_refresh_token_that_does_not_open_goes_unnoticed_while_the_access_token_lives(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """S-42: who has a good token gets it, and the log says what is wrong with the next."""
    token = connected.stored_access_token()
    connected.change(sealed_refresh_token=b"broken")
    clock.move(54)

    assert refresh(parts).fresh_access_token(connected.id) == token
    assert connected.history()[-1] == (EventKind.REFRESH_FAILED, "seal_broken")


def test_a_redirect_takes_the_refresh_token_nowhere(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """S-26: told to go to another origin with all it has, the refresh does not go there."""
    with wire(answering(answer(b"{}"))) as other:
        connected.sandbox.fault("refresh", "redirect", times=0, location=f"{other.url}/oauth/token")
        clock.move(61)
        with pytest.raises(TryAgainLater):
            refresh(parts).fresh_access_token(connected.id)

    assert other.peers == []
    assert connected.row().status is Status.ACTIVE
