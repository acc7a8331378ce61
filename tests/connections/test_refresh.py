"""fresh_access_token(): when it refreshes, what it sends, and what it stores."""

from datetime import timedelta

import pytest

from app.connections.backoff import (
    REFUSED_SECONDS,
    back_off_with_jitter,
)
from app.connections.models import EventKind, Status
from app.errors import (
    FreshTokenRefused,
)
from tests.support.clocks import HeldClock
from tests.support.connected import Connected, MakeConnected, Parts, refresh
from tests.support.refreshing import LONG_SECONDS


@pytest.fixture
def clock() -> HeldClock:
    """Time stands still unless it is moved; waiting costs nothing."""
    return HeldClock()


def test_a_good_token_is_used_as_it_is(connected: Connected, parts: Parts) -> None:
    """While the token is good, Katana's login is not asked."""
    first = refresh(parts).fresh_access_token(connected.id)
    second = refresh(parts).fresh_access_token(connected.id)

    assert first == second
    assert connected.refreshes() == 0


@pytest.mark.both_databases
def test_an_expired_token_is_renewed_once(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """After its life the token is renewed, and the next refresh token is the one that is kept."""
    first = refresh(parts).fresh_access_token(connected.id)
    clock.move(61)

    second = refresh(parts).fresh_access_token(connected.id)

    assert second != first
    assert refresh(parts).fresh_access_token(connected.id) == second
    assert connected.refreshes() == 1
    assert connected.row().generation == 2
    assert connected.holds_the_living_token()
    assert connected.row().renewals == 1
    assert connected.history() == [(EventKind.CONNECTED, None)]


def test_a_refresh_sends_exactly_the_documented_fields(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """The body holds the five fields of Katana's page and no other; no Authorization header."""
    clock.move(61)
    refresh(parts).fresh_access_token(connected.id)

    (sent,) = connected.sandbox.ledger().of("refresh")

    assert sent.fields == [
        "client_id",
        "client_secret",
        "grant_type",
        "redirect_uri",
        "refresh_token",
    ]
    assert "authorization" not in sent.headers


def test_a_token_is_renewed_ahead_of_its_end(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """In its last tenth or fifth the token is renewed by whoever comes by, before it is needed."""
    first = refresh(parts).fresh_access_token(connected.id)
    clock.move(54)

    assert connected.row().expires_at > clock.moment
    assert refresh(parts).fresh_access_token(connected.id) != first


def test_connections_made_together_are_not_renewed_together(new_connected: MakeConnected) -> None:
    """R-15: tokens of one minute, and of one life, are renewed at moments that are spread."""
    rows = [new_connected(f"maker{n}").row() for n in range(10)]

    margins = {(row.expires_at - row.renew_at).total_seconds() for row in rows}

    assert len(margins) > 5
    assert 6 <= min(margins) < max(margins) <= 12  # one to two tenths of a life of 60 s


def test_pauses_after_a_failure_are_spread() -> None:
    """R-15: who failed together does not come back together."""
    pauses = {back_off_with_jitter(3) for _ in range(20)}

    assert len(pauses) > 10
    assert 16 <= min(pauses) < max(pauses) <= 24  # 2, 4, 8, 16 seconds, and up to half as much more


def test_renewing_ahead_that_fails_is_not_noticed(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """While the old token lives, a failed renewal gives it back without a wait."""
    first = refresh(parts).fresh_access_token(connected.id)
    connected.sandbox.fault("refresh", "status", status=503, times=0)
    clock.move(54)

    assert refresh(parts).fresh_access_token(connected.id) == first
    assert clock.slept == []


def test_a_refused_token_is_renewed_once_for_all_who_had_it(
    connected: Connected, parts: Parts
) -> None:
    """R-1: a storm of 401s costs one refresh: who comes later gets the token that is there."""
    refused = refresh(parts).fresh_access_token(connected.id)

    renewed = {refresh(parts).fresh_access_token(connected.id, refused=refused) for _ in range(5)}

    assert len(renewed) == 1
    assert refused not in renewed
    assert connected.refreshes() == 1


def test_an_api_that_refuses_every_token_is_not_a_refresh_loop(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """I-5, B6: where the refused token is fresh, the pauses grow to minutes, and it is said why.

    Of the same kind: one tab that reloads each second, several tabs, a token that lives for a
    minute or for hours, an API that refuses for a minute or for days.
    """
    connected.change(expires_at=LONG_SECONDS, renew_at=LONG_SECONDS)
    told: list[float] = []
    began = clock.elapsed
    while clock.elapsed < began + 3600:
        token = connected.stored_access_token()
        try:
            refresh(parts).fresh_access_token(connected.id, refused=token)
            connected.change(expires_at=LONG_SECONDS, renew_at=LONG_SECONDS)
        except FreshTokenRefused as error:
            told.append(error.retry_after)
        clock.move(15)

    assert connected.refreshes() <= 18  # 4, 8, 16 ... up to 300 seconds, and half as much more
    assert max(told) > 200
    assert connected.row().status is Status.ACTIVE


def test_a_refused_token_that_is_old_is_renewed_without_a_growing_pause(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """I-5: tokens that are refused now and then, hours apart, are each renewed at once."""
    for _ in range(3):
        connected.change(expires_at=2 * LONG_SECONDS, renew_at=2 * LONG_SECONDS)
        clock.move(LONG_SECONDS)
        refresh(parts).fresh_access_token(connected.id, refused=connected.stored_access_token())
        row = connected.row()
        assert row.failures == 0
        assert row.next_attempt_at == clock.moment + timedelta(seconds=REFUSED_SECONDS)
