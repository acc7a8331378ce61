"""The feed: every change of the copy in order, for the partner's own code.

A reader that has seen position N has missed nothing before N. A sequence would not give that: two
transactions take 7 and 8, the second commits first, and a reader at 8 never sees 7. So a position
is taken from the one row of `feed`, whose lock the transaction then holds until it commits:
positions are given in order of commit, and without gaps. It is taken last, to be held briefly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection as Database
from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased

from app.database.clock import Clock
from app.database.engine import single_statements
from app.sync.models import ChangeKind, ChangeRow, Feed

BATCH = 500
KEPT_SECONDS = 30 * 24 * 3600.0
CLEARED_AT_ONCE = 1000


@dataclass(frozen=True)
class Happened:
    """What happened to one record, before it has a position."""

    resource: str
    kind: ChangeKind
    record_id: int
    location_id: int = 0


@dataclass(frozen=True)
class Change:
    """One entry of the feed. The record itself is read from the copy."""

    position: int
    connection_id: UUID
    resource: str
    kind: ChangeKind
    #: Katana's id; for stock that of the variant, whose location is `location_id`, else 0.
    record_id: int
    location_id: int
    at: datetime


class Changes:
    """Writes and reads the feed."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = single_statements(engine)
        self._clock = clock

    def append(self, database: Database, connection_id: UUID, happened: Sequence[Happened]) -> None:
        """Add to the feed, in the transaction that changes the copy, as its last statement."""
        if not happened:
            return

        first = self._positions(database, len(happened))
        rows = [
            {
                "position": position,
                "connection_id": connection_id,
                "resource": change.resource,
                "record_id": change.record_id,
                "location_id": change.location_id,
                "kind": change.kind,
            }
            for position, change in enumerate(happened, first)
        ]
        database.execute(insert(ChangeRow).values(at=self._clock.database_time()), rows)

    def after(self, position: int, limit: int = BATCH) -> Sequence[Change]:
        """The changes behind `position`, in order, at most `limit`. Begin with 0.

        Entries of a connection go when it is disconnected, and old ones once a later one of the
        same record exists: what is left, replayed from 0, gives the same copy.
        """
        row = ChangeRow
        columns = (row.position, row.connection_id, row.resource, row.kind)
        behind = (
            select(*columns, row.record_id, row.location_id, row.at)
            .where(row.position > position)
            .order_by(row.position)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [
                Change(number, owner, resource, ChangeKind(kind), record, location, at)
                for number, owner, resource, kind, record, location, at in connection.execute(
                    behind
                )
            ]

    def clear(self) -> int:
        """Remove old entries that a later one of the same record has made obsolete; how many."""
        later = aliased(ChangeRow)
        obsolete = (
            select(ChangeRow.position)
            .where(
                ChangeRow.at < select(self._clock.database_time(-KEPT_SECONDS)).scalar_subquery(),
                select(later.position)
                .where(
                    later.connection_id == ChangeRow.connection_id,
                    later.resource == ChangeRow.resource,
                    later.record_id == ChangeRow.record_id,
                    later.location_id == ChangeRow.location_id,
                    later.position > ChangeRow.position,
                )
                .exists(),
            )
            .limit(CLEARED_AT_ONCE)
        )
        with self._engine.connect() as connection:
            found = list(connection.scalars(obsolete))
            return connection.execute(
                delete(ChangeRow).where(ChangeRow.position.in_(found))
            ).rowcount

    def _positions(self, database: Database, number: int) -> int:
        """The first of `number` positions; the feed is this transaction's until its commit."""
        taking = (
            update(Feed)
            .where(Feed.id == 1)
            .values(position=Feed.position + number)
            .returning(Feed.position)
        )
        last = database.scalar(taking)
        if last is None:
            dialect = sqlite if database.dialect.name == "sqlite" else postgresql
            first = dialect.insert(Feed).values(id=1, position=0)
            database.execute(first.on_conflict_do_nothing())
            last = database.scalar(taking)
        assert last is not None  # noqa: S101  the row exists now, and is never deleted
        return last - number + 1
