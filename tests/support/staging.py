"""A process that is killed while it holds a token response that the database refuses."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from app.connections.leases import Lease, Leases
from app.connections.refresh import Refresh
from app.connections.sealed_grant import SealedGrant
from app.connections.staged_responses import StagedResponses
from tests.support.clocks import HeldClock
from tests.support.connected import Connected, Parts
from tests.support.holders import Killed


class Away(Leases):
    """The database refuses every save."""

    def save(self, lease: Lease, sealed: SealedGrant, **how: Any) -> bool:
        raise OperationalError("UPDATE", {}, Exception("the database is away"))


class KilledWhileWaiting(HeldClock):
    """The process is killed while it waits before the next save."""

    def sleep(self, seconds: float) -> None:
        raise Killed


def refresh(parts: Parts, staged: StagedResponses) -> Refresh:
    """A Refresh with these parts, and with files for staged responses."""
    return Refresh(
        parts.leases, parts.refusal_breaker, parts.login, parts.vault, parts.clock, staged
    )


def die_with_a_response(connected: Connected, clock: HeldClock, staged: StagedResponses) -> Path:
    """Katana has rotated the token, the database is down, and the process is killed."""
    clock.move(61)
    dying = KilledWhileWaiting()
    dying.moment, dying.elapsed = clock.moment, clock.elapsed
    connected.clock = dying
    with pytest.raises(Killed):
        refresh(connected.parts(Away), staged).fresh_access_token(connected.id)
    connected.clock = clock
    assert not connected.holds_the_living_token()
    (response,) = staged.waiting()
    return response.path
