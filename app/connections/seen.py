"""What a caller knows of a connection: what it has seen, the lease it got, what it read under it.

None of it is the truth, which is the row alone: every statement of `leases.py` asks again whether
what the caller knows still holds.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.connections.models import Connection, Reason, Status
from app.database.clock import Clock


@dataclass(frozen=True)
class Seen:
    """What one look at a connection told."""

    id: UUID
    user_id: int
    status: Status
    reason: Reason | None
    generation: int
    sealed_access_token: bytes = field(repr=False)
    expires_at: datetime
    renew_at: datetime
    lease_until: datetime | None
    sent_at: datetime | None
    next_attempt_at: datetime | None
    refreshed_at: datetime
    at: datetime

    @property
    def alive(self) -> bool:
        """Whether the access token is still within its life."""
        return self.left > 0

    @property
    def left(self) -> float:
        """Seconds until the access token's life is over."""
        return (self.expires_at - self.at).total_seconds()

    @property
    def leased(self) -> bool:
        """Whether somebody holds the right to send."""
        return self.lease_until is not None and self.lease_until > self.at

    @property
    def working(self) -> float:
        """Seconds that the holder of the lease has been at it by now."""
        return (self.at - self.sent_at).total_seconds() if self.leased and self.sent_at else 0

    @property
    def blocked(self) -> float:
        """Seconds until the lease runs out."""
        return (self.lease_until - self.at).total_seconds() if self.lease_until else 0

    @property
    def pausing(self) -> timedelta:
        """How long nobody may ask Katana."""
        return max((self.next_attempt_at or self.at) - self.at, timedelta(0))

    @property
    def due(self) -> bool:
        """Whether to renew now: it is time, or a send is in doubt and no one is at it any more."""
        return self.renew_at <= self.at or (self.sent_at is not None and not self.leased)


@dataclass(frozen=True)
class Lease:
    """The right to send one refresh of one generation."""

    connection_id: UUID
    user_id: int
    generation: int
    owner: str
    claimed: float  # monotonic, taken before the claim was made
    #: Another's lease had run out: its holder died, or hung.
    took_over: bool


@dataclass(frozen=True)
class Held:
    """What was read under a lease."""

    fence: int
    sealed_refresh_token: bytes = field(repr=False)
    #: Katana has refused the token once already, not long ago.
    refused_before: bool
    #: An earlier send of it got no answer.
    doubtful: bool
    #: Refreshes that failed since the last good one.
    failures: int


def seen_columns(clock: Clock) -> tuple[Any, ...]:
    """What to select for a Seen, in the order of its fields."""
    return (
        Connection.id,
        Connection.user_id,
        Connection.status,
        Connection.reason,
        Connection.generation,
        Connection.sealed_access_token,
        Connection.expires_at,
        Connection.renew_at,
        Connection.lease_until,
        Connection.sent_at,
        Connection.next_attempt_at,
        Connection.refreshed_at,
        clock.database_time(),
    )
