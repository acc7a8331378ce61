"""The connections as the operator sees them: lines, counts, overdue ones. No token is read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Engine, and_, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.connections.backoff import LONGEST_PAUSE_SECONDS
from app.connections.host import user_key, user_name
from app.connections.lease_statements import LEASE_AHEAD_SECONDS
from app.connections.models import Connection, ConnectionCount, Reason, Status
from app.database.clock import PAST_AHEAD_SECONDS, Clock, is_over
from app.database.engine import batches, single_statements
from app.katana.oauth import LONGEST_LIFE_SECONDS

BATCH = 500
EVERY_SECONDS = 60.0  # from count to count
LEASE_SECONDS = 60.0  # more than a count may take: of several workers one counts
THE_ROW = 1
NO_LEASE = {"lease_owner": None, "lease_until": None}


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

        times = (self.renew_at, LONGEST_LIFE_SECONDS), (self.next_attempt_at, LONGEST_PAUSE_SECONDS)
        near = [at for at, longest in times if at and (at - self.at).total_seconds() <= longest]
        return max(near, default=self.at)


class Overview:
    """The connections as they are now."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = single_statements(engine)
        self._clock = clock

    def lines(self, status: Status | None = None) -> Iterator[Line]:
        """All of them, or those with this status, by e-mail address."""
        lines = select(
            user_name,
            Connection.factory_name,
            Connection.status,
            Connection.reason,
            Connection.refreshed_at,
            Connection.renew_at,
            Connection.next_attempt_at,
            self._clock.database_time(),
        ).join(Connection, Connection.user_id == user_key)
        if status:
            lines = lines.where(Connection.status == status)
        for rows in batches(self._engine, lines, (user_name,), BATCH):
            yield from (Line(*row) for row in rows)

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
                Connection.next_attempt_at: LONGEST_PAUSE_SECONDS,
                Connection.lease_until: LEASE_AHEAD_SECONDS,
                Connection.expires_at: LONGEST_LIFE_SECONDS,
                Connection.renew_at: LONGEST_LIFE_SECONDS,
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
        """How many have each status. This reads an index from end to end: see Counts."""
        counted = select(Connection.status, func.count()).group_by(Connection.status)
        with self._engine.connect() as connection:
            found = {status: number for status, number in connection.execute(counted)}
        return {status: found.get(status, 0) for status in Status}


@dataclass(frozen=True)
class Counted:
    """The last count."""

    numbers: Mapping[Status, int]
    seconds_ago: float


class Counts:
    """One row with the last count, renewed once a minute.

    Counting reads an index of the table from end to end, which takes a second with some million
    rows: too much for each scrape of each host. Reading the row takes as long with any number.
    """

    def __init__(self, engine: Engine, clock: Clock, overview: Overview) -> None:
        self._engine = single_statements(engine)
        self._clock = clock
        self._overview = overview

    def last(self) -> Counted | None:
        """The last count; None where nothing was counted yet."""
        row, now = ConnectionCount, self._clock.database_time()
        found = select(row.numbers, row.counted_at, now).where(row.counted_at.is_not(None))
        with self._engine.connect() as database:
            counted = database.execute(found).first()
        if counted is None:
            return None

        numbers, at, now_at = counted
        by_status = {status: numbers.get(status, 0) for status in Status}
        return Counted(by_status, max(0.0, (now_at - at).total_seconds()))

    def are_due(self) -> bool:
        """Whether a count is due and no worker holds the lease."""
        waits = select(ConnectionCount.id).where(~self._is_due())
        with self._engine.connect() as database:
            return database.scalar(waits) is None

    def renew(self) -> bool:
        """Count, if that is due; whether it was."""
        owner = uuid4().hex
        began_at = self._claim(owner)
        if began_at is None:
            return False

        numbers = {status.value: number for status, number in self._overview.counts().items()}
        # A worker that hung for longer than its lease has counted too long ago.
        held = update(ConnectionCount).where(ConnectionCount.lease_owner == owner)
        with self._engine.connect() as database:
            counted = held.values(numbers=numbers, counted_at=began_at)
            return database.execute(counted.values(NO_LEASE)).rowcount == 1

    def _claim(self, owner: str) -> datetime | None:
        """The database's time, if it is due."""
        until = self._clock.database_time(LEASE_SECONDS)
        lease = {"lease_owner": owner, "lease_until": until}
        with self._engine.connect() as database:
            insert = (sqlite if database.dialect.name == "sqlite" else postgresql).insert
            first = insert(ConnectionCount).values(id=THE_ROW, numbers={})
            database.execute(first.on_conflict_do_nothing())
            claiming = update(ConnectionCount).where(self._is_due()).values(lease)
            now: datetime | None = database.scalar(claiming.returning(self._clock.database_time()))
        return now

    def _is_due(self) -> ColumnElement[bool]:
        row = ConnectionCount
        old = or_(
            row.counted_at.is_(None),
            row.counted_at <= self._clock.database_time(-EVERY_SECONDS),
            # Written while the database's clock was wrong.
            row.counted_at > self._clock.database_time(PAST_AHEAD_SECONDS),
        )
        return and_(old, is_over(row.lease_until, self._clock, 2 * LEASE_SECONDS))
