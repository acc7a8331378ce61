"""Keep-alive: refresh connections that were idle for days, before their refresh tokens expire.

Any number of hosts may run it at the same time, beside live traffic: the lease decides which one
sends. A run can be stopped at any point and started again.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from datetime import datetime
from enum import StrEnum
from itertools import chain
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, and_, func, select

from app.connections.backoff import (
    LONGEST_PAUSE_SECONDS,
    PATIENCE_SECONDS,
    PROBE_SECONDS,
    SHORT_BACK_OFF_SECONDS,
)
from app.connections.circuit_breaker import FailureStreak
from app.connections.lease_statements import LEASE_AHEAD_SECONDS, snapshot_columns
from app.connections.leases import Leases, Snapshot
from app.connections.models import Connection, Status
from app.connections.refresh import MAX_SENDS, Refresh
from app.database.clock import PAST_AHEAD_SECONDS, Clock, is_over
from app.database.engine import batches, single_statements
from app.errors import NotConnected, SealBroken, TryAgainLater

BATCH = 200  # rows that one statement reads
AHEAD = 100  # connections queued for the threads, so that a slow one does not block the others
PUT_OFF_IN_A_ROW = 20  # after this many failures without a success the run stops

logger = logging.getLogger(__name__)


class Outcome(StrEnum):
    """The result for one connection. The command prints these values."""

    RENEWED = "renewed"
    ELSEWHERE = "renewed or disconnected by somebody else meanwhile"
    ENDED = "must be connected again by their users"
    PUT_OFF = "not renewed by Katana now"
    PAUSING = "pausing after earlier failures"
    FAILED = "failed here, see the log"
    LEFT = "left for the next time"


#: Outcomes of a request to Katana: only these count for the failure streak.
_KATANA_RESPONDED = {Outcome.RENEWED, Outcome.ENDED, Outcome.PUT_OFF}


class KeepAlive:
    """Refreshes connections that are not in use."""

    def __init__(self, leases: Leases, idle: "Idle", refresh: Refresh, clock: Clock) -> None:
        self._leases = leases
        self._idle = idle
        self._refresh = refresh
        self._clock = clock

    def run(
        self, before: datetime, in_flight: int, stopped: Callable[[], bool]
    ) -> Iterator[Outcome]:
        """Refresh each connection that was last refreshed before `before`; yields the outcomes.

        At most `in_flight` run at the same time. After `stopped()` returns true, those under way
        are finished and no others are started. Raises TryAgainLater after PUT_OFF_IN_A_ROW failures
        without a success: Katana has an outage.
        """
        streak = FailureStreak(PUT_OFF_IN_A_ROW)

        def refresh_unless_stopped(snapshot: Snapshot) -> Outcome:
            if stopped() or streak.is_open:
                return Outcome.LEFT

            outcome = self._refresh_one(snapshot)
            if outcome in _KATANA_RESPONDED:
                streak.record(failed=outcome is Outcome.PUT_OFF)
            return outcome

        futures: deque[Future[Outcome]] = deque()
        with ThreadPoolExecutor(in_flight) as executor:
            for snapshot in chain.from_iterable(self._idle.batches(before)):
                # The thread gets the caller's app context, and its request id for the log.
                futures.append(
                    executor.submit(copy_context().run, refresh_unless_stopped, snapshot)
                )
                if len(futures) > in_flight + AHEAD:
                    yield futures.popleft().result()
                if stopped() or streak.is_open:
                    break
            while futures:
                yield futures.popleft().result()
        if streak.is_open and not stopped():
            raise TryAgainLater(PROBE_SECONDS)

    def renew(self, connection_id: UUID) -> Outcome:
        """Refresh this connection now. Raises NotConnected."""
        return self._refresh_one(self._read(connection_id))

    def _refresh_one(self, snapshot: Snapshot) -> Outcome:
        try:
            return self._refresh_with_retry(snapshot)
        except NotConnected:
            return Outcome.ELSEWHERE
        except SealBroken as error:
            logger.error("connection %s: %s", snapshot.id, error)
        except Exception:  # one connection must not stop the run
            logger.exception("connection %s: not refreshed", snapshot.id)
        return Outcome.FAILED

    def _refresh_with_retry(self, snapshot: Snapshot) -> Outcome:
        """Refresh it; send a second request if the result of the first must be confirmed."""
        current = self._after_short_back_off(snapshot)
        if current.back_off_left:
            return Outcome.PAUSING

        for _ in range(MAX_SENDS):
            if self._refresh.try_refresh(current):
                return Outcome.RENEWED

            current = self._after_short_back_off(self._read(snapshot.id))
            if current.leased_for > PATIENCE_SECONDS:
                return Outcome.PAUSING  # the holder of the lease has most likely died
            if current.is_leased or current.refreshed_at > snapshot.refreshed_at:
                return Outcome.ELSEWHERE
            if current.status is Status.RECONNECT_NEEDED:
                return Outcome.ENDED
            if current.back_off_left:
                break
        return Outcome.PUT_OFF

    def _after_short_back_off(self, snapshot: Snapshot) -> Snapshot:
        """The row after a short back-off; `snapshot` itself if the back-off is long or is over."""
        if not 0 < snapshot.back_off_left <= SHORT_BACK_OFF_SECONDS:
            return snapshot

        self._clock.sleep(snapshot.back_off_left)
        return self._read(snapshot.id)

    def _read(self, connection_id: UUID) -> Snapshot:
        snapshot = self._leases.read(connection_id)
        if snapshot is None:
            raise NotConnected

        return snapshot


class Idle:
    """The active connections that were last refreshed before a given time."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = single_statements(engine)
        self._clock = clock

    def moment(self, seconds_ago: float) -> datetime:
        """The database's time `seconds_ago` seconds ago.

        Read once and passed as a value: PostgreSQL does not use an index for an expression with
        `clock_timestamp()`.
        """
        with self._engine.connect() as connection:
            moment: datetime = connection.execute(
                select(self._clock.database_time(-seconds_ago))
            ).scalar_one()
        return moment

    def count(self, before: datetime) -> int:
        """The number of idle connections, including those with a refresh time in the future."""
        ranges = (_idle(before), _refreshed_after(self.moment(-PAST_AHEAD_SECONDS)))
        counts = (select(func.count()).select_from(Connection).where(idle) for idle in ranges)
        with self._engine.connect() as connection:
            return sum(connection.execute(count).scalar_one() for count in counts)

    def due(self, before: datetime, limit: int) -> Sequence[UUID]:
        """Up to `limit` idle connections that can be refreshed now: no back-off and no lease."""
        free = and_(
            is_over(Connection.next_attempt_at, self._clock, LONGEST_PAUSE_SECONDS),
            is_over(Connection.lease_until, self._clock, LEASE_AHEAD_SECONDS),
        )
        found = select(Connection.id).where(_idle(before), free).order_by(Connection.refreshed_at)
        with self._engine.connect() as connection:
            return connection.scalars(found.limit(limit)).all()

    def oldest(self) -> datetime | None:
        """The earliest `refreshed_at` of all active connections; None without any."""
        oldest = select(func.min(Connection.refreshed_at)).where(Connection.status == Status.ACTIVE)
        with self._engine.connect() as connection:
            return connection.execute(oldest).scalar_one()

    def batches(self, before: datetime) -> Iterator[Sequence[Snapshot]]:
        """All idle connections, each once. One that is refreshed in between is left out."""
        key = (Connection.refreshed_at, Connection.id)
        # A refresh time in the future was written while the database's clock was wrong: such a
        # connection counts as idle too.
        for idle in (_idle(before), _refreshed_after(self.moment(-PAST_AHEAD_SECONDS))):
            snapshots = select(*snapshot_columns(self._clock)).where(idle)
            for rows in batches(self._engine, snapshots, key, BATCH):
                yield [Snapshot(*row) for row in rows]


def _refreshed_after(moment: datetime) -> ColumnElement[bool]:
    return and_(Connection.status == Status.ACTIVE, Connection.refreshed_at > moment)


def _idle(before: datetime) -> ColumnElement[bool]:
    return and_(Connection.status == Status.ACTIVE, Connection.refreshed_at < before)
