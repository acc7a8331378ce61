"""Trouble that lasts: slow responses, refusals that stay, a database away, a clock set right."""

import json
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from sqlalchemy import literal

from app.connections.backoff import (
    LONGEST_PAUSE_SECONDS,
    TAKEOVER_SECONDS,
    save_interval,
)
from app.connections.models import EventKind, Reason, Status
from app.connections.outcomes import FAILING_ALONE_SECONDS
from app.connections.sealed_grant import SealedGrant
from app.database.clock import SystemClock
from app.errors import FailingAlone, ReconnectNeeded, TryAgainLater
from app.katana.oauth import RESPONSE_SECONDS, USER_ACTION_REQUIRED
from tests.support.clocks import HeldClock
from tests.support.connected import Connected, MakeConnected, Parts, refresh

DAY = 24 * 3600


@pytest.fixture
def clock() -> HeldClock:
    """Time stands still unless it is moved; waiting costs nothing."""
    return HeldClock()


def refuse(connected: Connected, status: int, error: str, times: int = 0) -> None:
    """Let the token endpoint refuse every refresh with this status and error code."""
    body = json.dumps({"error": error})
    connected.sandbox.fault("refresh", "body", status=status, text=body, times=times)


class TestTakingOver:
    """4b: a lease that ran out, whose holder may wait for the same database.

    Of the same kind: PostgreSQL stopped or failed over for longer than a lease, SQLite's write lock
    held by another process, a holder that is slow and not dead.
    """

    def test_the_wait_is_longer_than_any_pause_between_two_saves(self) -> None:
        """What a saver needs to come first."""
        assert max(save_interval(tries) for tries in range(200)) < TAKEOVER_SECONDS

    def test_a_holder_that_could_not_save_saves_first(
        self, connected: Connected, clock: HeldClock
    ) -> None:
        """Its response comes while the new holder waits: the token is not sent again."""
        parts = connected.parts()
        clock.move(61)
        seen = parts.leases.read(connected.id)
        assert seen
        first = parts.leases.claim(seen)
        assert first
        sealed = connected.row().sealed_access_token
        clock.move(70)

        def save_meanwhile(seconds: float) -> None:
            HeldClock.sleep(clock, seconds)
            if seconds == TAKEOVER_SECONDS:
                parts.leases.save(first, SealedGrant(sealed, None, None, 60, 50))

        clock.sleep = save_meanwhile  # type: ignore[method-assign]
        refresh(parts).fresh_access_token(connected.id)

        assert connected.refreshes() == 0
        row = connected.row()
        assert row.generation == 2
        assert row.lease_owner is None
        assert row.sent_at is None

    def test_a_holder_that_died_costs_the_wait_and_no_more(
        self, connected: Connected, parts: Parts, clock: HeldClock
    ) -> None:
        """R-4: after it the token is sent once; here it was not spent."""
        clock.move(61)
        seen = parts.leases.read(connected.id)
        assert seen
        assert parts.leases.claim(seen)
        clock.move(70)

        refresh(parts).fresh_access_token(connected.id)

        assert clock.slept == [TAKEOVER_SECONDS]
        assert connected.refreshes() == 1
        assert connected.row().doubtful_since is None

    def test_the_lease_begins_anew_after_the_wait(
        self, connected: Connected, parts: Parts, clock: HeldClock
    ) -> None:
        """Two callers that see the same expired lease: one takes over, the other gets nothing."""
        clock.move(61)
        seen = parts.leases.read(connected.id)
        assert seen
        assert parts.leases.claim(seen)
        clock.move(70)
        late = parts.leases.read(connected.id)
        assert late
        second = parts.leases.claim(late)
        assert second
        clock.move(TAKEOVER_SECONDS)

        assert parts.leases.claim(late) is None
        again = parts.leases.claim(late, second.owner)

        assert again
        assert again.fence == second.fence + 1
        assert again.possibly_spent
        assert again.claimed > second.claimed


def test_a_slow_response_is_read_until_the_lease_nearly_ends(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """A3: the token is rotated at once, and the response comes after 12 or 40 s.

    Of the same kind: a response that drips, a load balancer that holds it back, a body that comes
    long after its header.
    """
    how: list[Any] = []
    login = parts.login

    class Noting(type(login)):  # type: ignore[misc]
        def refresh(self, token: str, send_before: float, response_seconds: float) -> Any:
            how.extend((send_before - clock.monotonic(), response_seconds))
            return super().refresh(token, send_before, response_seconds)

    clock.move(61)
    refreshing = refresh(
        Parts(parts.leases, parts.refusal_breaker, Noting(login.settings), parts.vault, clock)
    )
    refreshing.fresh_access_token(connected.id)

    to_send, to_answer = how
    assert to_answer > 40
    assert 0 < to_send + to_answer < parts.leases.lease_seconds


@pytest.mark.slow
def test_a_response_after_twelve_seconds_is_saved(new_connected: MakeConnected) -> None:
    """A3, in real time."""
    connected = new_connected()
    connected.clock = SystemClock()
    connected.expire()
    connected.sandbox.fault("refresh", "slow", seconds=RESPONSE_SECONDS + 2)

    refresh(connected.parts()).fresh_access_token(connected.id)

    assert connected.holds_the_living_token()
    assert connected.refreshes() == 1


@pytest.mark.short_form(2)
@pytest.mark.one_database
@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize("error", ["interaction_required", *sorted(USER_ACTION_REQUIRED)[:3]])
def test_what_only_the_user_can_mend_is_confirmed_and_ends(
    connected: Connected, parts: Parts, clock: HeldClock, status: int, error: str
) -> None:
    """B5: interaction, sign-in, consent, another factor: no refresh gets past them."""
    refuse(connected, status, error)
    clock.move(61)

    with pytest.raises(ReconnectNeeded, match="grant_ended"):
        refresh(parts).fresh_access_token(connected.id)

    assert connected.refreshes() == 2
    assert connected.row().reason is Reason.GRANT_ENDED


def fail_for_hours(
    refused: Connected, others: list[Connected], clock: HeldClock, status: int, error: str
) -> TryAgainLater:
    """Refuse one for hours, while others (if there are any) are renewed; what a page is told."""
    clock.move(61)
    ask = refresh(refused.parts()).fresh_access_token
    told = TryAgainLater(0)
    until = clock.elapsed + FAILING_ALONE_SECONDS + 1200
    while clock.elapsed < until:
        refused.sandbox.clear_faults()
        for other in others:
            refresh(other.parts()).fresh_access_token(other.id)
        refuse(refused, status, error)
        with pytest.raises(TryAgainLater) as raised:
            ask(refused.id)
        told = raised.value
        clock.move(600)
    return told


@pytest.mark.short_form(1)
@pytest.mark.parametrize(
    ("status", "error"), [(403, "access_denied"), (400, "invalid_request"), (401, "invalid_client")]
)
@pytest.mark.one_database
def test_one_that_is_refused_for_hours_offers_reconnect(
    new_connected: MakeConnected,
    clock: HeldClock,
    caplog: pytest.LogCaptureFixture,
    status: int,
    error: str,
) -> None:
    """B5: while others are renewed, the page and the log name it; the connection is kept.

    Of the same kind: any refusal that is not the token's, a user who is blocked at Katana, a server
    error for one account alone.
    """
    ada, ben = new_connected("ada"), new_connected("ben")

    told = fail_for_hours(ada, [ben], clock, status, error)

    assert type(told) is FailingAlone
    assert (EventKind.REFRESH_FAILED, "failing_alone") in ada.history()
    assert ada.row().status is Status.ACTIVE
    if error == "access_denied":
        assert "KATANA_CLIENT_SECRET" not in caplog.text

    ada.sandbox.clear_faults()
    clock.move(600)
    refresh(ada.parts()).fresh_access_token(ada.id)
    assert ada.holds_the_living_token()


@pytest.mark.one_database
def test_a_refusal_of_everybody_offers_nobody_to_reconnect(
    new_connected: MakeConnected, clock: HeldClock, caplog: pytest.LogCaptureFixture
) -> None:
    """B5: a wrong client secret, or Katana's own trouble: it is not any user's to mend."""
    told = fail_for_hours(new_connected(), [], clock, 401, "invalid_client")

    assert type(told) is TryAgainLater
    assert "KATANA_CLIENT_SECRET" in caplog.text


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500, 503])
@pytest.mark.parametrize("as_date", [False, True])
@pytest.mark.one_database
def test_retry_after_is_kept_on_any_status(
    connected: Connected, parts: Parts, clock: HeldClock, status: int, as_date: bool
) -> None:
    """B7, RFC 9110 section 10.2.3: seconds and HTTP date; not asked again until it is over."""
    asked = "120"
    if as_date:
        moment = clock.moment.replace(microsecond=0) + timedelta(seconds=130)
        asked = format_datetime(moment, usegmt=True)
    connected.sandbox.fault("refresh", "status", status=status, retry_after=asked, times=0)
    clock.move(61)

    with pytest.raises(TryAgainLater) as told:
        refresh(parts).fresh_access_token(connected.id)

    assert told.value.retry_after >= 115
    clock.move(110)
    with pytest.raises(TryAgainLater):
        refresh(parts).fresh_access_token(connected.id)
    assert connected.refreshes() == 1


class TestClockSetRight:
    """13: the database's clock ran ahead, moments were written, and it was corrected.

    Of the same kind: a day, a year; a pause, a lease, a token's life, a refusal, a renewal.
    """

    @pytest.mark.parametrize("ahead", [2 * 3600, DAY, 400 * DAY])
    def test_a_pause_that_lies_too_far_ahead_is_over(
        self, connected: Connected, parts: Parts, clock: HeldClock, ahead: int
    ) -> None:
        """No page waits for it, and the claim takes no notice of it."""
        clock.move(61)
        connected.change(next_attempt_at=ahead)

        refresh(parts).fresh_access_token(connected.id)

        assert connected.refreshes() == 1
        assert ahead > LONGEST_PAUSE_SECONDS

    def test_a_lease_that_lies_too_far_ahead_is_taken_over(
        self, connected: Connected, parts: Parts, clock: HeldClock
    ) -> None:
        """Its holder is gone, or saves during the wait of every takeover."""
        clock.move(61)
        connected.change(lease_owner=literal("x"), lease_until=DAY, sent_at=DAY - 60)

        refresh(parts).fresh_access_token(connected.id)

        assert clock.slept == [TAKEOVER_SECONDS]
        assert connected.refreshes() == 1

    def test_a_clock_set_back_a_little_takes_no_lease_away(
        self, connected: Connected, parts: Parts
    ) -> None:
        """A holder that waits for Katana while a second is put right keeps its lease."""
        seen = parts.leases.read(connected.id)
        assert seen
        assert parts.leases.claim(seen)
        connected.change(lease_until=65)

        assert parts.leases.claim(seen) is None

    def test_a_token_that_would_live_too_long_is_renewed(
        self, connected: Connected, parts: Parts
    ) -> None:
        """No token lives for years."""
        connected.change(expires_at=1000 * DAY, renew_at=1000 * DAY)

        refresh(parts).fresh_access_token(connected.id)

        assert connected.refreshes() == 1

    def test_refusals_from_the_future_are_no_incident(
        self, new_connected: MakeConnected, clock: HeldClock
    ) -> None:
        """They neither open the circuit breaker nor count as a first refusal."""
        everybody = [new_connected(f"maker{n}") for n in range(6)]
        for one in everybody:
            one.change(refused_at=DAY)
        clock.move(61)

        refresh(everybody[0].parts()).fresh_access_token(everybody[0].id)

        assert everybody[0].row().status is Status.ACTIVE

    def test_renewals_from_the_future_hide_no_refusals(
        self, new_connected: MakeConnected, clock: HeldClock
    ) -> None:
        """The circuit breaker opens although one row was renewed tomorrow."""
        everybody = [new_connected(f"maker{n}") for n in range(6)]
        everybody[0].change(refreshed_at=DAY, parent_generation=literal(0))
        for one in everybody[1:]:
            one.change(refused_at=0)

        assert everybody[0].parts().refusal_breaker.is_open()


def test_the_history_is_bounded(connected: Connected, parts: Parts, clock: HeldClock) -> None:
    """Each failure is a row, the latest hundred are kept, and another user's stay."""
    seen = parts.leases.read(connected.id)
    assert seen
    lease = parts.leases.claim(seen)
    assert lease
    for n in range(120):
        parts.leases.record(lease, EventKind.REFRESH_FAILED, str(n))

    kept = [detail for _, detail in connected.history()]
    assert kept == [str(n) for n in range(20, 120)]


def test_renewals_are_counted_and_begin_anew_with_a_grant(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """One number on the connection, however many renewals; a reconnect begins at none."""
    for _ in range(3):
        clock.move(61)
        refresh(parts).fresh_access_token(connected.id)

    assert connected.row().renewals == 3
    assert connected.row().refreshed_at == clock.moment
    assert connected.history() == [(EventKind.CONNECTED, None)]
    connected.connect()
    assert connected.row().renewals == 0
