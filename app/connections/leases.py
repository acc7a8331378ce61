"""How the refresh protocol reads and writes the row of a connection: read, claim, save, release.

Another caller may change the row at any time. So every statement checks in its WHERE clause that
the row has not changed since it was read. Each statement is a transaction of its own and uses the
database's clock. Receivers of `history.ending` may write in the transaction that ends a connection.
docs/refresh-protocol.md describes the columns, and the state after a crash at each step.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine, Executable
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.connections import history
from app.connections.backoff import LONGEST_PAUSE_SECONDS, TAKEOVER_SECONDS
from app.connections.history import Event
from app.connections.host import UserId
from app.connections.lease_statements import (
    LEASE_AHEAD_SECONDS,
    LONGEST_LEASE_SECONDS,
    LeaseStatements,
)
from app.connections.models import EventKind, Reason, Status
from app.connections.sealed_grant import SealedGrant
from app.database.clock import PAST_AHEAD_SECONDS, Clock, seconds_until
from app.database.engine import single_reads, single_statements
from app.katana.oauth import LONGEST_LIFETIME_SECONDS

SHORTEST_LEASE_SECONDS = 20  # time for Katana's response, and to save it
REFUSAL_COUNTS_SECONDS = 3600  # a second refusal within this time confirms the first

logger = logging.getLogger(__name__)


class _RefreshTimes:
    """When a connection was last refreshed, and since when refreshes fail, as of `at`."""

    refreshed_at: datetime
    failing_since: datetime | None
    at: datetime

    @property
    def token_age(self) -> float:
        """Seconds since Katana issued the access token."""
        return (self.at - self.refreshed_at).total_seconds()

    @property
    def is_failing(self) -> bool:
        """Whether the last refresh failed."""
        return self.failing_since is not None and self.failing_since >= self.refreshed_at

    @property
    def failing_for(self) -> float:
        """Seconds since refreshes began to fail; 0 if the last one did not."""
        if self.failing_since is None or not self.is_failing:
            return 0

        return max(0.0, (self.at - self.failing_since).total_seconds())


@dataclass(frozen=True)
class Snapshot(_RefreshTimes):
    """A connection's row as it was read. Timestamps are the database's, durations in seconds."""

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
    def token_is_valid(self) -> bool:
        """Whether the access token is valid."""
        return self.token_valid_for > 0

    @property
    def token_valid_for(self) -> float:
        """Seconds until the access token expires."""
        return seconds_until(self.expires_at, self.at, LONGEST_LIFETIME_SECONDS)

    @property
    def lease_left(self) -> float:
        """Seconds until the lease expires; 0 without a lease."""
        return seconds_until(self.lease_until, self.at, LEASE_AHEAD_SECONDS)

    @property
    def is_leased(self) -> bool:
        """Whether a caller holds the lease."""
        return self.lease_left > 0

    @property
    def leased_for(self) -> float:
        """Seconds since the current lease was claimed; 0 without a lease."""
        return (self.at - self.sent_at).total_seconds() if self.is_leased and self.sent_at else 0

    @property
    def back_off_left(self) -> float:
        """Seconds until the back-off ends."""
        return seconds_until(self.next_attempt_at, self.at, LONGEST_PAUSE_SECONDS)

    @property
    def should_refresh(self) -> bool:
        """Whether to refresh: near expiry, or a possibly spent refresh token without a lease."""
        until_renewal = seconds_until(self.renew_at, self.at, LONGEST_LIFETIME_SECONDS)
        return not until_renewal or (self.sent_at is not None and not self.is_leased)


@dataclass(frozen=True)
class Lease(_RefreshTimes):
    """A claimed lease, with the sealed refresh token that its holder may send."""

    connection_id: UUID
    user_id: UserId
    generation: int
    owner: str
    claimed: float  # on the monotonic clock, before the claim
    #: The claim replaced another holder's expired lease: that process has died or hangs.
    took_over: bool
    fence: int
    sealed_refresh_token: bytes = field(repr=False)
    refused_at: datetime | None
    doubtful_since: datetime | None
    #: Failed refreshes since the last success.
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
    def possibly_spent(self) -> bool:
        """Whether the token is possibly spent: an earlier request with it got no response."""
        return self.doubtful_since is not None


class Leases:
    """The statements on the table `connections`."""

    def __init__(
        self, engine: Engine, clock: Clock, lease_seconds: float = LONGEST_LEASE_SECONDS
    ) -> None:
        self.lease_seconds = lease_seconds
        self._engine, self._reading = single_statements(engine), single_reads(engine)
        self._transactions = engine
        self._clock = clock
        self._sql = LeaseStatements(clock, lease_seconds)

    def read(self, connection_id: UUID) -> Snapshot | None:
        """The current row of the connection; None if it does not exist."""
        row = self._row(self._sql.read, {"this_id": connection_id})
        return Snapshot(*row) if row else None

    def claim(self, snapshot: Snapshot, owner: str | None = None) -> Lease | None:
        """Claim the lease; None if the row has changed, is leased, or is in back-off.

        With `owner`, the holder extends its own lease. After the commit the token counts as
        possibly spent. `doubtful_since` keeps the time of an earlier request without a response.
        """
        owner, claimed = owner or uuid4().hex, self._clock.monotonic()
        this = {"this_id": snapshot.id, "this_owner": owner, "this_generation": snapshot.generation}
        with self._engine.connect() as connection:
            row = connection.execute(self._sql.claim, this).one_or_none()
        if row is None:
            return None

        took_over = snapshot.lease_until is not None
        return Lease(
            snapshot.id, snapshot.user_id, snapshot.generation, owner, claimed, took_over, *row
        )

    def save(
        self, lease: Lease, sealed: SealedGrant, *, pause: float = 0, failures: int = 0
    ) -> bool:
        """Store the token response for `lease`, and start a back-off of `pause` seconds.

        Compare-and-swap on the generation that was sent. A late response is saved too, after the
        lease has expired or the connection was marked `reconnect_needed`: it holds the only valid
        refresh token, and a success supersedes an earlier refusal. Of two responses to the same
        token, the one with the higher fencing token is kept.

        False if the row holds another grant or newer tokens. After a reconnect `parent_generation`
        is null, so a response from before it is never stored.
        """
        how = {
            "new_access_token": sealed.access_token,
            "new_refresh_token": sealed.refresh_token,
            "has_access": sealed.access_token is not None,
            "new_scope": sealed.scope,
            "usable_for": sealed.usable_for,
            "renew_in": sealed.renew_in,
            "pause": pause,
            "failed_times": failures,
        }
        return self._count(self._sql.save, {**_holder(lease), **_request(lease), **how})

    def is_saved(self, lease: Lease) -> bool:
        """Whether the row has the token response for `lease`; for use after a failed commit."""
        this = {"this_id": lease.connection_id, **_request(lease)}
        return self._row(self._sql.is_saved, this) is not None

    def knows(self, lease: Lease) -> bool:
        """Whether this database has the connection, or has recorded that it was disconnected."""
        row = self._row(self._sql.knows, {"this_id": lease.connection_id})
        return bool(row and row[0])

    def mark_possibly_spent(self, lease: Lease) -> None:
        """Mark the stored tokens as possibly spent: an older request got a response after them."""
        this = {"this_id": lease.connection_id, **_request(lease)}
        self._count(self._sql.mark_possibly_spent, this)

    def release_after_failure(
        self, lease: Lease, pause: float, *, possibly_spent: bool, refused: bool = False
    ) -> bool:
        """Release the lease and start a back-off of `pause` seconds; False if it was lost.

        `possibly_spent`: a request was sent and got no response, so `sent_at` stays. `refused`:
        Katana refused the token, which is recorded only if the row still has the generation that
        was sent.
        """
        this = {**_holder(lease), "this_generation": lease.generation}
        how = {
            "pause": pause,
            "in_doubt": possibly_spent or lease.possibly_spent,
            "was_refused": refused,
        }
        return self._count(self._sql.release_after_failure, {**this, **how})

    def release_unused(self, lease: Lease) -> None:
        """Release a lease under which nothing was sent."""
        self._count(self._sql.release_unused, _holder(lease))

    def connected(self, user_id: UserId) -> bool:
        """Whether this user has a connection, the same or a newer one."""
        return self._row(self._sql.connected, {"this_user": user_id}) is not None

    def mark_reconnect_needed(self, lease: Lease, reason: Reason) -> bool:
        """Mark the connection `reconnect_needed`; False if lease or generation have changed.

        If refreshes failed before, the refusal also counts for the `RefusalBreaker`. Otherwise it
        does not, because a dead process or a restored backup explains a single refusal.
        Receivers of `history.ending` may write in the same transaction.
        """
        this = {**_holder(lease), "this_generation": lease.generation, "why": reason}
        with self._transactions.begin() as database:
            if database.execute(self._sql.mark_reconnect_needed, this).rowcount != 1:
                return False

            history.announce_ending(database, lease.user_id, lease.connection_id, reason)
            return True

    def record(self, lease: Lease, kind: EventKind, detail: str | None = None) -> None:
        """Add an event to the history, unless it is a plain refresh; then log and announce it."""
        try:
            if detail is not None:
                entry = history.values(lease.user_id, lease.connection_id, kind, detail)
                self._count(self._sql.record, entry)
                self._count(self._sql.trim_history, {"this_user": lease.user_id})
        except (DBAPIError, PoolTimeout):
            logger.exception("connection %s: not in its history: %s", lease.connection_id, kind)
        seconds = self._clock.monotonic() - lease.claimed
        history.announce(
            Event(kind, lease.user_id, lease.connection_id, detail, seconds, lease.took_over)
        )

    def _row(self, statement: Executable, parameters: Mapping[str, Any]) -> Sequence[Any] | None:
        with self._reading.connect() as connection:
            return connection.execute(statement, parameters).first()

    def _count(self, statement: Executable, parameters: Mapping[str, Any]) -> bool:
        with self._engine.connect() as connection:
            count: int = connection.execute(statement, parameters).rowcount
            return count == 1


def lease_seconds(overlap: int) -> float:
    """The length of a lease in seconds, for a grace period of `overlap` seconds.

    Without a grace period: the longest lease, because a takeover sends the token a second time.
    With one: short enough for a takeover while Katana still accepts the token.
    """
    if overlap == 0:
        return LONGEST_LEASE_SECONDS

    return min(LONGEST_LEASE_SECONDS, max(SHORTEST_LEASE_SECONDS, overlap - 5 - TAKEOVER_SECONDS))


def _holder(lease: Lease) -> Mapping[str, Any]:
    return {"this_id": lease.connection_id, "this_owner": lease.owner}


def _request(lease: Lease) -> Mapping[str, Any]:
    return {"this_generation": lease.generation, "this_fence": lease.fence}
