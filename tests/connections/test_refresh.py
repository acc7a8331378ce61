"""fresh_access_token(): what it sends, what it stores, and how it judges what comes back."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, literal

from app.connections.backoff import (
    PATIENCE_SECONDS,
    REFUSED_SECONDS,
    SETTLE_SECONDS,
    back_off_with_jitter,
    poll_interval,
)
from app.connections.circuit_breaker import REFUSALS
from app.connections.lease_statements import LONGEST_LEASE_SECONDS
from app.connections.leases import Lease, Leases, Snapshot
from app.connections.models import Connection, EventKind, Reason, Status
from app.connections.sealed_grant import SealedGrant
from app.connections.vault import Vault
from app.database import clock as app_clock
from app.database.clock import SystemClock
from app.errors import (
    FreshTokenRefused,
    NotConnected,
    ReconnectNeeded,
    SealBroken,
    TryAgainLater,
)
from app.katana.oauth import DEFAULT_LIFETIME_SECONDS, Grant, KatanaLogin
from tests.support.clocks import HeldClock
from tests.support.connected import Connected, MakeConnected, Parts, refresh
from tests.support.wire import answer, answering, wire

LONG_SECONDS = 3 * 3600  # longer than every pause


@pytest.fixture
def clock() -> HeldClock:
    """Time stands still unless it is moved; waiting costs nothing."""
    return HeldClock()


@pytest.fixture
def parts(connected: Connected) -> Parts:
    """The real parts, with held time."""
    return connected.parts()


class Interrupted(KatanaLogin):
    """The real login; things happen right before and right after it is asked."""

    def __init__(
        self,
        login: KatanaLogin,
        before: Callable[[], object] = lambda: None,
        after: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(login.settings)
        self.before, self.after = before, after

    def refresh(self, *sent: Any) -> Grant:
        self.before()
        grant = super().refresh(*sent)
        self.after()
        return grant


def look(parts: Parts, connected: Connected) -> Snapshot:
    """The connection as it is now."""
    seen = parts.leases.read(connected.id)
    assert seen
    return seen


def test_a_good_token_is_used_as_it_is(connected: Connected, parts: Parts) -> None:
    """While the token is good, Katana's login is not asked."""
    first = refresh(parts).fresh_access_token(connected.id)
    second = refresh(parts).fresh_access_token(connected.id)

    assert first == second
    assert connected.refreshes() == 0


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


class Overtaken(Leases):
    """The real statements; while the first lease is being claimed, something else goes on."""

    meanwhile: Callable[[], object]
    claims = 0

    def claim(self, *how: Any) -> Lease | None:
        self.claims += 1
        if self.claims == 1:
            self.meanwhile()
        return super().claim(*how)


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


def test_nobody_else_here_queues_for_the_lease_while_the_token_is_good(
    connected: Connected, clock: HeldClock
) -> None:
    """R-1: one of a process's threads asks for it; the others have the token that still lives."""
    parts = connected.parts(Overtaken)
    assert isinstance(parts.leases, Overtaken)
    refreshing = refresh(parts)
    first = refreshing.fresh_access_token(connected.id)
    clock.move(54)
    beside: list[str] = []
    parts.leases.meanwhile = lambda: beside.append(refreshing.fresh_access_token(connected.id))

    renewed = refreshing.fresh_access_token(connected.id)

    assert beside == [first]
    assert renewed != first
    assert parts.leases.claims == 1
    clock.move(54)
    assert refreshing.fresh_access_token(connected.id) != renewed


def test_one_thread_of_a_process_asks_for_the_lease(connected: Connected, clock: HeldClock) -> None:
    """R-1: where the token has run out, the others wait for what that one gets."""
    parts = connected.parts(Overtaken)
    assert isinstance(parts.leases, Overtaken)
    refreshing = refresh(parts)
    clock.move(61)
    beside: list[float] = []

    def wait_in_vain() -> None:
        with pytest.raises(TryAgainLater):
            refreshing.fresh_access_token(connected.id)
        beside.append(sum(clock.slept))

    parts.leases.meanwhile = wait_in_vain

    refreshing.fresh_access_token(connected.id)

    assert beside[0] >= PATIENCE_SECONDS
    assert parts.leases.claims == 1
    assert connected.refreshes() == 1


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


def test_who_wakes_up_too_late_does_not_send(connected: Connected, clock: HeldClock) -> None:
    """R-7: who slept between claim and send must not send: the lease may be another's."""
    parts = connected.parts()

    class Sleepy(Leases):
        def claim(self, *how: Any) -> Lease | None:
            lease = super().claim(*how)
            clock.elapsed += LONGEST_LEASE_SECONDS
            return lease

    clock.move(61)

    with pytest.raises(TryAgainLater):
        refresh(connected.parts(Sleepy)).fresh_access_token(connected.id)

    assert connected.refreshes() == 0
    assert connected.row().sent_at is None
    refresh(parts).fresh_access_token(connected.id)


def test_a_claim_on_what_has_moved_is_refused(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """R-0.2: who looked before another's refresh does not refresh once more."""
    clock.move(61)
    seen = parts.leases.read(connected.id)
    assert seen
    refresh(parts).fresh_access_token(connected.id)

    assert parts.leases.claim(seen) is None


def test_a_claim_on_what_is_leased_is_refused(connected: Connected, parts: Parts) -> None:
    """I-4: while one holds the lease, the same look gives it to nobody else."""
    seen = parts.leases.read(connected.id)
    assert seen
    assert parts.leases.claim(seen)

    assert parts.leases.claim(seen) is None


def test_a_claim_during_a_pause_is_refused(connected: Connected, parts: Parts) -> None:
    """R-10: a pause that another has set since the look is kept."""
    seen = parts.leases.read(connected.id)
    assert seen
    connected.change(next_attempt_at=60)

    assert parts.leases.claim(seen) is None


def test_disconnecting_meanwhile_is_final(connected: Connected, clock: HeldClock) -> None:
    """R-14, I-10: tokens that arrive after the disconnect are stored nowhere, and revoked."""
    parts = connected.parts()
    login = Interrupted(parts.login, after=connected.disconnect)
    clock.move(61)

    with pytest.raises(NotConnected):
        refresh(replace(parts, login=login)).fresh_access_token(connected.id)

    with pytest.raises(AssertionError, match="gone"):
        connected.row()
    assert connected.family().state == "dead"


def test_an_answer_for_who_has_disconnected_and_connected_anew_is_not_revoked(
    connected: Connected, clock: HeldClock
) -> None:
    """R-14: revoking it could take back the consent that the new grant lives on."""
    parts = connected.parts()

    def anew() -> None:
        connected.disconnect()
        connected.connect()

    clock.move(61)
    with pytest.raises(NotConnected):
        refresh(replace(parts, login=Interrupted(parts.login, after=anew))).fresh_access_token(
            connected.id
        )

    assert len(connected.sandbox.ledger().of("revoke")) == 1  # the disconnect's own


def test_reconnecting_meanwhile_wins(connected: Connected, clock: HeldClock) -> None:
    """R-14: the new grant is not overwritten by an answer to the old one."""
    parts = connected.parts()
    clock.move(61)
    refresh(
        replace(parts, login=Interrupted(parts.login, after=connected.connect))
    ).fresh_access_token(connected.id)

    connected.family_id = max(family.id for family in connected.sandbox.ledger().families)
    assert connected.holds_the_living_token()
    assert connected.row().parent_generation is None


def test_reconnecting_before_the_send_stops_it(connected: Connected, clock: HeldClock) -> None:
    """R-0.2: only what the claim returns is sent, not what was seen before it."""

    class Overtaken(Leases):
        def claim(self, *how: Any) -> Lease | None:
            connected.connect()
            return super().claim(*how)

    clock.move(61)

    refresh(connected.parts(Overtaken)).fresh_access_token(connected.id)

    assert connected.refreshes() == 0


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


def test_katana_refusing_everybody_ends_nobody(
    new_connected: MakeConnected, clock: HeldClock
) -> None:
    """R-13: many refusals in a row are Katana's trouble: all pause, none ends, all go on."""
    everybody = [new_connected(f"maker{n}") for n in range(8)]
    sandbox = everybody[0].sandbox
    sandbox.fault("refresh", "invalid_grant", times=0)
    clock.move(61)
    # All are refused for the first time before anyone is for the second.
    for one in everybody:
        lease = one.parts().leases.claim(one.parts().leases.read(one.id))  # type: ignore[arg-type]
        one.parts().leases.release_after_failure(lease, 1, possibly_spent=False, refused=True)  # type: ignore[arg-type]

    for _ in range(5):
        clock.move(120)
        for one in everybody:
            with pytest.raises(TryAgainLater):
                refresh(one.parts()).fresh_access_token(one.id)
    assert {one.row().status for one in everybody} == {Status.ACTIVE}
    assert len(sandbox.ledger().of("refresh")) <= 6

    sandbox.clear_faults()
    clock.move(120)
    for one in everybody:
        refresh(one.parts()).fresh_access_token(one.id)
    assert all(one.holds_the_living_token() for one in everybody)


def refused_everywhere(everybody: list[Connected], clock: HeldClock) -> None:
    """Katana refuses whoever asks; everybody does, now and then, for a while."""
    everybody[0].sandbox.clear_faults()
    everybody[0].sandbox.fault("refresh", "invalid_grant", times=0)
    for _ in range(5):
        clock.move(120)
        for one in everybody:
            with pytest.raises((TryAgainLater, ReconnectNeeded)):
                refresh(one.parts()).fresh_access_token(one.id)


def ended(everybody: list[Connected]) -> int:
    """How many must be connected again."""
    return sum(one.row().status is Status.RECONNECT_NEEDED for one in everybody)


def test_connecting_is_no_sign_that_katana_renews_again(
    new_connected: MakeConnected, clock: HeldClock
) -> None:
    """R-13: during an incident users go on connecting; that does not make the refusals believed."""
    everybody = [new_connected(f"maker{n}") for n in range(3 * REFUSALS)]
    for one in everybody[:REFUSALS]:
        one.change(refused_at=0)

    refused_everywhere([*everybody, new_connected("newcomer")], clock)

    assert ended(everybody) == 0


@pytest.mark.parametrize(("failures", "most"), [(1, REFUSALS), (2, REFUSALS - 1)])
def test_refusals_that_follow_an_outage_are_part_of_it(
    new_connected: MakeConnected, clock: HeldClock, failures: int, most: int
) -> None:
    """R-13: answers lost by Katana's failing are no reason to believe all that it refuses then."""
    everybody = [new_connected(f"maker{n}") for n in range(3 * REFUSALS)]
    for one in everybody:
        one.change(expires_at=-1, renew_at=-1, sent_at=-1, failures=literal(failures))

    refused_everywhere(everybody, clock)

    assert ended(everybody) <= most
    everybody[0].sandbox.clear_faults()
    clock.move(LONG_SECONDS)
    for one in everybody:
        if one.row().status is Status.ACTIVE:
            refresh(one.parts()).fresh_access_token(one.id)


def test_a_sealed_refresh_token_that_does_not_open_goes_unnoticed_while_the_access_token_lives(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """S-42: who has a good token gets it, and the log says what is wrong with the next."""
    token = connected.stored_access_token()
    connected.change(sealed_refresh_token=b"broken")
    clock.move(54)

    assert refresh(parts).fresh_access_token(connected.id) == token
    assert connected.history()[-1] == (EventKind.REFRESH_FAILED, "seal_broken")


def test_a_claim_holds_from_before_it_was_made(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """R-6: who waited for the database to take the claim has that much less time to send."""
    seen = parts.leases.read(connected.id)
    assert seen
    before = clock.monotonic()
    engine = parts.leases._engine

    def wait(*_: object) -> None:
        clock.move(10)

    event.listen(engine, "before_cursor_execute", wait)
    lease = parts.leases.claim(seen)
    event.remove(engine, "before_cursor_execute", wait)

    assert lease
    assert lease.claimed == before


@pytest.mark.parametrize("step", ["claim", "send"])
def test_a_host_that_was_suspended_does_not_send(
    connected: Connected, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """R-7: it held the lease, slept for two minutes with all its clocks but one, and woke up."""
    real = time.clock_gettime

    def suspend() -> None:
        slept = {app_clock._COUNTS_WHILE_SUSPENDED: 120}
        monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + slept.get(clock, 0))

    class Suspended(Leases):
        def claim(self, *how: Any) -> Lease | None:
            lease = super().claim(*how)
            suspend()
            return lease

    connected.clock = SystemClock()
    parts = connected.parts(Suspended if step == "claim" else Leases)
    if step == "send":
        parts = replace(parts, login=Interrupted(parts.login, before=suspend))

    assert not refresh(parts).try_refresh(look(parts, connected))
    assert connected.refreshes() == 0
    assert connected.row().lease_until is None


def test_a_verdict_on_what_has_moved_is_refused(connected: Connected, parts: Parts) -> None:
    """R-7: saved by another meanwhile, the connection is not ended for the token before."""
    first = parts.leases.claim(look(parts, connected))
    assert first
    connected.change(lease_until=-1)
    second = parts.leases.claim(look(parts, connected))
    assert second
    assert parts.leases.save(first, SealedGrant(None, None, None, 0, 0))

    assert not parts.leases.mark_reconnect_needed(second, Reason.GRANT_ENDED)
    assert not parts.leases.release_after_failure(second, 0, possibly_spent=False, refused=True)
    assert connected.row().status is Status.ACTIVE
    assert connected.row().refused_at is None


def test_one_connections_answer_is_saved_to_it_alone(
    new_connected: MakeConnected, clock: HeldClock
) -> None:
    """I-7: however alike two rows are, the other one's tokens stay as they are."""
    ada, ben = new_connected("ada"), new_connected("ben")
    before = ben.row()
    clock.move(61)

    refresh(ada.parts()).fresh_access_token(ada.id)

    after = ben.row()
    for column in Connection.__mapper__.column_attrs:
        assert getattr(after, column.key) == getattr(before, column.key)


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


def test_who_waits_does_not_sleep_long_past_the_answer() -> None:
    """However long a refresh takes, who waits for it has it after half as long again."""
    waited = 0.0
    for looks in range(100):
        pause = poll_interval(looks)

        assert pause <= waited / 2 + 0.05
        waited += pause
    assert waited > 20  # and the database is not asked all the time


def let_a_holder_die(connected: Connected, parts: Parts, clock: HeldClock) -> None:
    """The token has run out, and who took the lease to renew it never comes back."""
    clock.move(61)
    seen = parts.leases.read(connected.id)
    assert seen
    assert parts.leases.claim(seen)


def test_a_caller_waits_for_another_and_not_for_ever(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """A holder that never comes back costs a caller some seconds, and nobody the connection."""
    let_a_holder_die(connected, parts, clock)

    with pytest.raises(TryAgainLater):
        refresh(parts).fresh_access_token(connected.id)

    assert sum(clock.slept) == pytest.approx(PATIENCE_SECONDS, abs=1)
    assert connected.refreshes() == 0


def test_a_holder_that_must_have_died_is_not_waited_for(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """R-12: while a dead worker's lease runs out, nobody's page holds up a thread for it."""
    let_a_holder_die(connected, parts, clock)
    clock.move(PATIENCE_SECONDS + 1)

    with pytest.raises(TryAgainLater) as told:
        refresh(parts).fresh_access_token(connected.id)

    assert clock.slept == []
    assert told.value.retry_after == LONGEST_LEASE_SECONDS - PATIENCE_SECONDS - 1
