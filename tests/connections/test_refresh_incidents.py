"""Katana refuses everybody: nobody's connection ends."""

import pytest
from sqlalchemy import literal

from app.connections.circuit_breaker import REFUSALS
from app.connections.models import Status
from app.errors import (
    ReconnectNeeded,
    TryAgainLater,
)
from tests.support.clocks import HeldClock
from tests.support.connected import Connected, MakeConnected, refresh
from tests.support.refreshing import LONG_SECONDS


@pytest.fixture
def clock() -> HeldClock:
    """Time stands still unless it is moved; waiting costs nothing."""
    return HeldClock()


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


@pytest.mark.short_form(1)
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
