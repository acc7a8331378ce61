"""The connections as the operator sees them: lines, counts, overdue ones. No token is read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine, func, or_, select

from app.connections.clock_bounds import (
    LEASE_AHEAD_SECONDS,
    LIFE_AHEAD_SECONDS,
    PAST_AHEAD_SECONDS,
    PAUSE_AHEAD_SECONDS,
)
from app.connections.host import user_key, user_name
from app.connections.models import Connection, Reason, Status
from app.database.clock import Clock
from app.database.engine import single_statements

BATCH = 500


@dataclass(frozen=True)
class Line:
    """One connection."""

    email: str
    factory_name: str | None
    status: Status
    reason: Reason | None
    refreshed_at: datetime
    renew_at: datetime
    next_attempt_at: datetime | None
    #: The database's time when this was read.
    at: datetime

    @property
    def next_renewal(self) -> datetime | None:
        """When it is renewed at the next use, or when that is tried again; None if never.

        A time that lies too far ahead counts as over, as it does for a refresh.
        """
        if self.status is Status.RECONNECT_NEEDED:
            return None

        times = (self.renew_at, LIFE_AHEAD_SECONDS), (self.next_attempt_at, PAUSE_AHEAD_SECONDS)
        near = [at for at, longest in times if at and (at - self.at).total_seconds() <= longest]
        return max(near, default=self.at)


class Overview:
    """The connections as they are now."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = single_statements(engine)
        self._clock = clock

    def lines(self, status: Status | None = None) -> Iterator[Line]:
        """All of them, or those with this status, by e-mail address.

        They are read in batches when they are asked for, and no statement is open in between.
        """
        following = (
            select(
                user_name,
                Connection.factory_name,
                Connection.status,
                Connection.reason,
                Connection.refreshed_at,
                Connection.renew_at,
                Connection.next_attempt_at,
                self._clock.database_time(),
            )
            .join(Connection, Connection.user_id == user_key)
            .order_by(user_name)
            .limit(BATCH)
        )
        if status:
            following = following.where(Connection.status == status)
        statement = following
        while True:
            with self._engine.connect() as connection:
                lines = [Line(*row) for row in connection.execute(statement)]
            if not lines:
                return

            yield from lines
            statement = following.where(user_name > lines[-1].email)

    def overdue_since(self) -> datetime | None:
        """When the most overdue refresh that has failed became due; None where none has failed."""
        overdue = select(func.min(Connection.renew_at)).where(
            Connection.status == Status.ACTIVE, Connection.failures > 0
        )
        with self._engine.connect() as connection:
            return connection.execute(overdue).scalar_one()

    def misdated(self, limit: int) -> Sequence[UUID]:
        """Connections with a moment that lies further ahead than this app could have put it."""
        clock, longest = (
            self._clock,
            {
                Connection.next_attempt_at: PAUSE_AHEAD_SECONDS,
                Connection.lease_until: LEASE_AHEAD_SECONDS,
                Connection.expires_at: LIFE_AHEAD_SECONDS,
                Connection.renew_at: LIFE_AHEAD_SECONDS,
                Connection.refreshed_at: PAST_AHEAD_SECONDS,
                Connection.refused_at: PAST_AHEAD_SECONDS,
                Connection.sent_at: PAST_AHEAD_SECONDS,
                Connection.failing_since: PAST_AHEAD_SECONDS,
            },
        )
        # Each limit is computed once, not for each row. Sorted rows would be read by an index.
        ahead = [
            moment > select(clock.database_time(seconds)).scalar_subquery()
            for moment, seconds in longest.items()
        ]
        found = select(Connection.id).where(or_(*ahead)).limit(limit)
        with self._engine.connect() as connection:
            return sorted(connection.scalars(found))

    def counts(self) -> Mapping[Status, int]:
        """How many have each status. This reads an index from end to end: see `counts.py`."""
        counted = select(Connection.status, func.count()).group_by(Connection.status)
        with self._engine.connect() as connection:
            found = {status: number for status, number in connection.execute(counted)}
        return {status: found.get(status, 0) for status in Status}
