"""How many connections there are, counted once a minute into one row, so that reading it is quick.

Counting reads an index of the table from end to end, which takes a second with some million rows:
too much for each scrape of each host. Reading the row takes the same time with any number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from sqlalchemy import ColumnElement, Engine, and_, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.connections.clock_bounds import PAST_AHEAD_SECONDS, is_over
from app.connections.fleet.overview import Overview
from app.connections.models import ConnectionCount, Status
from app.database.clock import Clock
from app.database.engine import single_statements

EVERY_SECONDS = 60.0
LEASE_SECONDS = 60.0  # more than a statement may take: of several workers one counts
THE_ROW = 1
NO_LEASE = {"lease_owner": None, "lease_until": None}


@dataclass(frozen=True)
class Counted:
    """The last count."""

    numbers: Mapping[Status, int]
    seconds_ago: float


class Counts:
    """The row with the last count."""

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
