"""Keep-alive: refresh connections that were idle for days, before their refresh tokens expire.

Any number of hosts may run it at once, beside live traffic: the lease decides which one sends. An
interrupted run has refreshed some connections and changed no others.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, and_, func, select

from app.connections.backoff import (
    LONGEST_PAUSE_SECONDS,
    PATIENCE_SECONDS,
    PROBE_SECONDS,
    WORTH_WAITING_SECONDS,
)
from app.connections.circuit_breaker import FailureStreak
from app.connections.lease_statements import LEASE_AHEAD_SECONDS, snapshot_columns
from app.connections.leases import Leases, Snapshot
from app.connections.models import Connection, Status
from app.connections.refresh import SENDS, Refresh
from app.database.clock import PAST_AHEAD_SECONDS, Clock, is_over
from app.database.engine import batches, single_statements
from app.errors import NotConnected, SealBroken, TryAgainLater

WORTH_WAITING = timedelta(seconds=WORTH_WAITING_SECONDS)
BATCH = 200  # rows that one statement reads
AHEAD = 100  # this many are handed to the threads ahead: none waits while one of them is slow
PUT_OFF_IN_A_ROW = 20  # after so many without a success, the rest is left

logger = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What became of one connection."""

    RENEWED = "renewed"
    ELSEWHERE = "renewed or disconnected by somebody else meanwhile"
    ENDED = "must be connected again by their users"
    PUT_OFF = "not renewed by Katana now"
    PAUSING = "pausing after earlier failures"
    FAILED = "failed here, see the log"
    LEFT = "left for the next time"


#: Others say nothing about Katana.
_KATANA_ANSWERED = {Outcome.RENEWED, Outcome.ENDED, Outcome.PUT_OFF}


class KeepAlive:
    """Renews connections that are not in use."""

    def __init__(self, leases: Leases, idle: "Idle", refresh: Refresh, clock: Clock) -> None:
        self._leases = leases
        self._idle = idle
        self._refresh = refresh
        self._clock = clock

    def run(
        self, before: datetime, in_flight: int, stopped: Callable[[], bool]
    ) -> Iterator[Outcome]:
        """What becomes of each connection that was last renewed before a moment.

        At most `in_flight` are renewed at once. Once `stopped()`, those under way are finished and
        no more begun. Raises TryAgainLater where Katana renews none: asking for the rest would be
        in vain, and one probe now and then is enough.
        """
        streak = FailureStreak(PUT_OFF_IN_A_ROW)

        def keep(seen: Snapshot) -> Outcome:
            if stopped() or streak.is_open:
                return Outcome.LEFT

            outcome = self._keep(seen)
            if outcome in _KATANA_ANSWERED:
                streak.note(failed=outcome is Outcome.PUT_OFF)
            return outcome

        begun: deque[Future[Outcome]] = deque()
        with ThreadPoolExecutor(in_flight) as executor:
            for seen in chain.from_iterable(self._idle.batches(before)):
                # Each thread works for the caller's app, and its lines carry the caller's id.
                begun.append(executor.submit(copy_context().run, keep, seen))
                if len(begun) > in_flight + AHEAD:
                    yield begun.popleft().result()
                if stopped() or streak.is_open:
                    break
            while begun:
                yield begun.popleft().result()
        if streak.is_open and not stopped():
            raise TryAgainLater(PROBE_SECONDS)

    def renew(self, connection_id: UUID) -> Outcome:
        """Renew this one now. Raises NotConnected."""
        return self._keep(self._look(connection_id))

    def _keep(self, seen: Snapshot) -> Outcome:
        try:
            return self._settle(seen)
        except NotConnected:
            return Outcome.ELSEWHERE
        except SealBroken as error:
            logger.error("connection %s: %s", seen.id, error)
        except Exception:  # whatever it is, it must not keep the others from being renewed
            logger.exception("connection %s: not renewed", seen.id)
        return Outcome.FAILED

    def _settle(self, seen: Snapshot) -> Outcome:
        """Renew it; where the first send leaves open what is true, send once more."""
        now = self._rested(seen)
        if now.pausing:
            return Outcome.PAUSING

        for _ in range(SENDS):
            if self._refresh.renew(now):
                return Outcome.RENEWED

            now = self._rested(self._look(seen.id))
            if now.working > PATIENCE_SECONDS:
                return Outcome.PAUSING  # whoever held the lease must have died
            if now.leased or now.refreshed_at > seen.refreshed_at:
                return Outcome.ELSEWHERE
            if now.status is Status.RECONNECT_NEEDED:
                return Outcome.ENDED
            if now.pausing:
                break
        return Outcome.PUT_OFF

    def _rested(self, seen: Snapshot) -> Snapshot:
        """What is seen after a short pause; a longer one is not waited for."""
        if not timedelta(0) < seen.pausing <= WORTH_WAITING:
            return seen

        self._clock.sleep(seen.pausing.total_seconds())
        return self._look(seen.id)

    def _look(self, connection_id: UUID) -> Snapshot:
        seen = self._leases.read(connection_id)
        if seen is None:
            raise NotConnected

        return seen


class Idle:
    """The active connections that were last renewed before a moment."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = single_statements(engine)
        self._clock = clock

    def moment(self, seconds_ago: float) -> datetime:
        """The database's time so long ago.

        Read once and then passed on as a value: PostgreSQL looks up no index by its clock.
        """
        with self._engine.connect() as connection:
            moment: datetime = connection.execute(
                select(self._clock.database_time(-seconds_ago))
            ).scalar_one()
        return moment

    def count(self, before: datetime) -> int:
        """How many there are."""
        ranges = (_idle(before), _ahead(self.moment(-PAST_AHEAD_SECONDS)))
        counts = (select(func.count()).select_from(Connection).where(idle) for idle in ranges)
        with self._engine.connect() as connection:
            return sum(connection.execute(count).scalar_one() for count in counts)

    def due(self, before: datetime, limit: int) -> Sequence[UUID]:
        """Some of them that can be renewed now: not pausing, and not being renewed."""
        free = and_(
            is_over(Connection.next_attempt_at, self._clock, LONGEST_PAUSE_SECONDS),
            is_over(Connection.lease_until, self._clock, LEASE_AHEAD_SECONDS),
        )
        found = select(Connection.id).where(_idle(before), free).order_by(Connection.refreshed_at)
        with self._engine.connect() as connection:
            return connection.scalars(found.limit(limit)).all()

    def oldest(self) -> datetime | None:
        """When the one that has waited longest was last renewed; None where there is none."""
        oldest = select(func.min(Connection.refreshed_at)).where(Connection.status == Status.ACTIVE)
        with self._engine.connect() as connection:
            return connection.execute(oldest).scalar_one()

    def batches(self, before: datetime) -> Iterator[Sequence[Snapshot]]:
        """All of them, each once. One that is renewed meanwhile is in no later batch."""
        key = (Connection.refreshed_at, Connection.id)
        # What was renewed at a moment still to come was written while the database's clock was
        # wrong: it counts as idle too.
        for idle in (_idle(before), _ahead(self.moment(-PAST_AHEAD_SECONDS))):
            snapshots = select(*snapshot_columns(self._clock)).where(idle)
            for rows in batches(self._engine, snapshots, key, BATCH):
                yield [Snapshot(*row) for row in rows]


def _ahead(moment: datetime) -> ColumnElement[bool]:
    return and_(Connection.status == Status.ACTIVE, Connection.refreshed_at > moment)


def _idle(before: datetime) -> ColumnElement[bool]:
    return and_(Connection.status == Status.ACTIVE, Connection.refreshed_at < before)
