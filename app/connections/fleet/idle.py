"""The connections that nobody has renewed for a while: oldest first, batch by batch, by index."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, Select, and_, func, or_, select, tuple_

from app.connections.bounds import PAST_AHEAD_SECONDS
from app.connections.models import Connection, Status
from app.connections.seen import Seen, seen_columns
from app.database.clock import Clock
from app.database.db import single_statements

BATCH = 200


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
        now = self._clock.database_time()
        free = and_(
            or_(Connection.next_attempt_at.is_(None), Connection.next_attempt_at <= now),
            or_(Connection.lease_until.is_(None), Connection.lease_until < now),
        )
        found = select(Connection.id).where(_idle(before), free).order_by(Connection.refreshed_at)
        with self._engine.connect() as connection:
            return connection.scalars(found.limit(limit)).all()

    def oldest(self) -> datetime | None:
        """When the one that has waited longest was last renewed; None where there is none."""
        oldest = select(func.min(Connection.refreshed_at)).where(Connection.status == Status.ACTIVE)
        with self._engine.connect() as connection:
            return connection.execute(oldest).scalar_one()

    def batches(self, before: datetime) -> Iterator[Sequence[Seen]]:
        """All of them, each once, in batches that are read when they are asked for.

        No statement reads more than a batch, and none is open in between. A connection that is
        renewed meanwhile is in no later batch.
        """
        # What was renewed at a moment still to come was written while the database's clock was
        # wrong: it counts as idle too.
        for idle in (_idle(before), _ahead(self.moment(-PAST_AHEAD_SECONDS))):
            after: Seen | None = None
            while batch := self._read(self._next(idle, after)):
                yield batch
                after = batch[-1]

    def _next(self, idle: ColumnElement[bool], after: Seen | None) -> Select[Any]:
        place = tuple_(Connection.refreshed_at, Connection.id)
        further = [place > (after.refreshed_at, after.id)] if after else []
        return (
            select(*seen_columns(self._clock))
            .where(idle, *further)
            .order_by(Connection.refreshed_at, Connection.id)
            .limit(BATCH)
        )

    def _read(self, statement: Select[Any]) -> Sequence[Seen]:
        with self._engine.connect() as connection:
            return [Seen(*row) for row in connection.execute(statement)]


def _ahead(moment: datetime) -> ColumnElement[bool]:
    return and_(Connection.status == Status.ACTIVE, Connection.refreshed_at > moment)


def _idle(before: datetime) -> ColumnElement[bool]:
    return and_(Connection.status == Status.ACTIVE, Connection.refreshed_at < before)
