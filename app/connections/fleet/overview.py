"""Lists and counts of all connections, for operators. Reads no tokens."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine, func, or_, select

from app.connections.backoff import LONGEST_PAUSE_SECONDS
from app.connections.host import user_key, user_name
from app.connections.lease_statements import LEASE_AHEAD_SECONDS
from app.connections.models import Connection, ConnectionCount, Reason, Status
from app.database.clock import PAST_AHEAD_SECONDS, Clock
from app.database.engine import batches, insert_into, single_statements
from app.database.leased_rows import LeasedRows, Range
from app.katana.oauth import LONGEST_LIFETIME_SECONDS

BATCH = 500
EVERY_SECONDS = 60.0  # between two counts
LEASE_SECONDS = 60.0  # longer than a count takes: only one of several workers counts
THE_ROW = 1


@dataclass(frozen=True)
class Line:
    """One connection in the list."""

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
        """From when a use refreshes it, after any back-off; None if the user must reconnect.

        A time too far in the future is ignored, as in a refresh.
        """
        if self.status is Status.RECONNECT_NEEDED:
            return None

        times = (
            (self.renew_at, LONGEST_LIFETIME_SECONDS),
            (self.next_attempt_at, LONGEST_PAUSE_SECONDS),
        )
        near = [at for at, longest in times if at and (at - self.at).total_seconds() <= longest]
        return max(near, default=self.at)


class Overview:
    """Reads the list and the counts of all connections."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = single_statements(engine)
        self._clock = clock

    def lines(self, status: Status | None = None) -> Iterator[Line]:
        """All connections, or those with this status, sorted by e-mail address."""
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
        """The earliest `renew_at` of connections whose refresh failed; None without any."""
        overdue = select(func.min(Connection.renew_at)).where(
            Connection.status == Status.ACTIVE, Connection.failures > 0
        )
        with self._engine.connect() as connection:
            return connection.execute(overdue).scalar_one()

    def misdated(self, limit: int) -> Sequence[UUID]:
        """Connections with a time further in the future than this app ever writes."""
        clock, longest = (
            self._clock,
            {
                Connection.next_attempt_at: LONGEST_PAUSE_SECONDS,
                Connection.lease_until: LEASE_AHEAD_SECONDS,
                Connection.expires_at: LONGEST_LIFETIME_SECONDS,
                Connection.renew_at: LONGEST_LIFETIME_SECONDS,
                Connection.refreshed_at: PAST_AHEAD_SECONDS,
                Connection.refused_at: PAST_AHEAD_SECONDS,
                Connection.sent_at: PAST_AHEAD_SECONDS,
                Connection.failing_since: PAST_AHEAD_SECONDS,
            },
        )
        # Each limit is a subquery, so it is computed once and not for each row. Sorted in
        # Python: with ORDER BY the database would read all rows through an index.
        ahead = [
            moment > select(clock.database_time(seconds)).scalar_subquery()
            for moment, seconds in longest.items()
        ]
        found = select(Connection.id).where(or_(*ahead)).limit(limit)
        with self._engine.connect() as connection:
            return sorted(connection.scalars(found))

    def counts(self) -> Mapping[Status, int]:
        """The number of connections by status. Reads a whole index: see Counts."""
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
    """The last count, kept in one row and updated once a minute.

    Counting reads a whole index, which takes a second with a few million rows. That is too long
    for each scrape of each host.
    """

    def __init__(self, engine: Engine, clock: Clock, overview: Overview) -> None:
        self._engine = single_statements(engine)
        self._clock = clock
        self._overview = overview
        self._rows = LeasedRows(engine, clock, ConnectionCount, LEASE_SECONDS, _due)

    def last(self) -> Counted | None:
        """The last count; None if nothing was counted yet."""
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
        waits = select(ConnectionCount.id).where(~self._rows.is_claimable())
        with self._engine.connect() as database:
            return database.scalar(waits) is None

    def renew(self) -> bool:
        """Count if a count is due; True if this call counted."""
        with self._engine.connect() as database:
            row = insert_into(database, ConnectionCount).values(id=THE_ROW, numbers={})
            database.execute(row.on_conflict_do_nothing())
        held = self._rows.claim(ConnectionCount.id == THE_ROW)
        if held is None:
            return False

        numbers = {status.value: number for status, number in self._overview.counts().items()}
        # If the lease has expired meanwhile, the count is discarded.
        return self._rows.finish(held, numbers=numbers, counted_at=self._rows.claimed_at(held))


def _due(clock: Clock) -> Sequence[Range]:
    at = ConnectionCount.counted_at
    old, wrong = clock.database_time(-EVERY_SECONDS), clock.database_time(PAST_AHEAD_SECONDS)
    return [Range(or_(at.is_(None), at <= old, at > wrong), at)]
