"""The lease on a refresh: who may send, who waits, and what a late holder may still do."""

import time
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event

from app.connections.backoff import (
    PATIENCE_SECONDS,
    poll_interval,
)
from app.connections.lease_statements import LONGEST_LEASE_SECONDS
from app.connections.leases import Lease, Leases
from app.connections.models import Connection, Reason, Status
from app.connections.sealed_grant import SealedGrant
from app.database import clock as app_clock
from app.database.clock import SystemClock
from app.errors import (
    NotConnected,
    TryAgainLater,
)
from tests.support.clocks import HeldClock
from tests.support.connected import Connected, MakeConnected, Parts, refresh
from tests.support.refreshing import Interrupted, Overtaken, look


@pytest.fixture
def clock() -> HeldClock:
    """Time stands still unless it is moved; waiting costs nothing."""
    return HeldClock()


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


@pytest.mark.both_databases
def test_a_claim_on_what_has_moved_is_refused(
    connected: Connected, parts: Parts, clock: HeldClock
) -> None:
    """R-0.2: who looked before another's refresh does not refresh once more."""
    clock.move(61)
    seen = parts.leases.read(connected.id)
    assert seen
    refresh(parts).fresh_access_token(connected.id)

    assert parts.leases.claim(seen) is None


@pytest.mark.both_databases
def test_a_claim_on_what_is_leased_is_refused(connected: Connected, parts: Parts) -> None:
    """I-4: while one holds the lease, the same look gives it to nobody else."""
    seen = parts.leases.read(connected.id)
    assert seen
    assert parts.leases.claim(seen)

    assert parts.leases.claim(seen) is None


@pytest.mark.both_databases
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


@pytest.mark.both_databases
def test_reconnecting_before_the_send_stops_it(connected: Connected, clock: HeldClock) -> None:
    """R-0.2: only what the claim returns is sent, not what was seen before it."""

    class Overtaken(Leases):
        def claim(self, *how: Any) -> Lease | None:
            connected.connect()
            return super().claim(*how)

    clock.move(61)

    refresh(connected.parts(Overtaken)).fresh_access_token(connected.id)

    assert connected.refreshes() == 0


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


@pytest.mark.both_databases
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


@pytest.mark.both_databases
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
