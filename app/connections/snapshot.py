"""A snapshot of a connection's row, and a lease on it.

Both may be out of date at any moment. Every statement of `leases.py` therefore checks in its WHERE
clause that the row has not changed.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.connections.clock_bounds import (
    LEASE_AHEAD_SECONDS,
    LIFE_AHEAD_SECONDS,
    PAST_AHEAD_SECONDS,
    PAUSE_AHEAD_SECONDS,
    seconds_until,
)
from app.connections.host import UserId
from app.connections.models import Connection, Reason, Status
from app.database.clock import Clock

REFUSAL_COUNTS_SECONDS = 3600  # a second refusal within this time confirms the first


@dataclass(frozen=True)
class Snapshot:
    """A connection's row at one moment. Timestamps are the database's, durations in seconds."""

    id: UUID
    user_id: UserId
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
    failing_since: datetime | None
    at: datetime

    @property
    def alive(self) -> bool:
        """Whether the access token is valid."""
        return self.left > 0

    @property
    def left(self) -> float:
        """Seconds until the access token expires."""
        return seconds_until(self.expires_at, self.at, LIFE_AHEAD_SECONDS)

    @property
    def token_age(self) -> float:
        """Seconds since Katana gave the access token."""
        return (self.at - self.refreshed_at).total_seconds()

    @property
    def blocked(self) -> float:
        """Seconds until the lease runs out."""
        return seconds_until(self.lease_until, self.at, LEASE_AHEAD_SECONDS)

    @property
    def leased(self) -> bool:
        """Whether a caller holds the lease."""
        return self.blocked > 0

    @property
    def working(self) -> float:
        """Seconds since the lease was claimed; 0 if there is none."""
        return (self.at - self.sent_at).total_seconds() if self.leased and self.sent_at else 0

    @property
    def pausing(self) -> timedelta:
        """What is left of the back-off."""
        return timedelta(seconds=seconds_until(self.next_attempt_at, self.at, PAUSE_AHEAD_SECONDS))

    @property
    def due(self) -> bool:
        """Whether to refresh now: the token is near its end, or possibly spent and not leased."""
        waits = seconds_until(self.renew_at, self.at, LIFE_AHEAD_SECONDS)
        return not waits or (self.sent_at is not None and not self.leased)

    @property
    def failing(self) -> bool:
        """Whether the last refresh failed."""
        return self.failing_since is not None and self.failing_since >= self.refreshed_at

    @property
    def failing_for(self) -> float:
        """Seconds since refreshes began to fail; 0 where the last one did not."""
        return _failing_for(self.failing_since, self.refreshed_at, self.at)


@dataclass(frozen=True)
class Lease:
    """The right to send the refresh token of one generation, and that token (encrypted)."""

    connection_id: UUID
    user_id: UserId
    generation: int
    owner: str
    claimed: float  # monotonic, taken before the claim was made
    #: The lease of another holder had expired: that process has died, or hangs.
    took_over: bool
    fence: int
    sealed_refresh_token: bytes = field(repr=False)
    refused_at: datetime | None
    doubtful_since: datetime | None
    #: Refreshes that failed since the last good one.
    failures: int
    refreshed_at: datetime
    failing_since: datetime | None
    at: datetime

    @property
    def refused_before(self) -> bool:
        """Whether Katana refused this token once within the last hour."""
        if self.refused_at is None:
            return False

        ago = (self.at - self.refused_at).total_seconds()
        return -PAST_AHEAD_SECONDS < ago < REFUSAL_COUNTS_SECONDS

    @property
    def doubtful(self) -> bool:
        """Whether the token is possibly spent: an earlier request with it got no response."""
        return self.doubtful_since is not None

    @property
    def token_age(self) -> float:
        """Seconds since Katana gave the access token."""
        return (self.at - self.refreshed_at).total_seconds()

    @property
    def failing_for(self) -> float:
        """Seconds since refreshes began to fail; 0 where the last one did not."""
        return _failing_for(self.failing_since, self.refreshed_at, self.at)


def _failing_for(since: datetime | None, refreshed_at: datetime, at: datetime) -> float:
    if since is None or since < refreshed_at:
        return 0

    return max(0.0, (at - since).total_seconds())


def snapshot_columns(clock: Clock) -> tuple[Any, ...]:
    """The columns of a Snapshot, in the order of its fields."""
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
        Connection.failing_since,
        clock.database_time(),
    )
