"""The feed: every change of the copy in order, for the partner's own code.

A reader that has seen position N has missed nothing before N. A sequence would not give that: two
transactions take 7 and 8, the second commits first, and a reader at 8 never sees 7. So a position
is taken from one row of `feed`, whose lock the transaction then holds until it commits: positions
are given in order of commit, and without gaps. It is taken last, to be held briefly.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, Engine, Index, String, delete, insert, select, update
from sqlalchemy import Connection as Database
from sqlalchemy.orm import Mapped, aliased, mapped_column

from app.database.clock import Clock
from app.database.columns import Timestamp
from app.database.db import Model
from app.database.engine import insert_into, single_statements
from app.sync.models import connection_key

BATCH = 500
KEPT_SECONDS = 30 * 24 * 3600.0
CLEARED_AT_ONCE = 1000
LAST = 1  # the one row of `feed`


class ChangeKind(StrEnum):
    """What happened to a record of the copy."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


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
    #: Katana's id; for stock that of the variant, whose location is `location_id`, else 0.
    record_id: int
    location_id: int
    #: A ChangeKind.
    kind: str
    at: datetime


class ChangeRow(Model):
    """The same in the database."""

    __tablename__ = "changes"
    __table_args__ = (
        Index("ix_changes_record", "connection_id", "resource", "record_id", "position"),
    )

    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    connection_id: Mapped[UUID] = connection_key()
    resource: Mapped[str] = mapped_column(String(40))
    record_id: Mapped[int] = mapped_column(BigInteger)
    location_id: Mapped[int] = mapped_column(BigInteger, default=0)
    kind: Mapped[str] = mapped_column(String(10))
    at: Mapped[datetime] = mapped_column(Timestamp)


_COLUMNS = [getattr(ChangeRow, field.name) for field in fields(Change)]


class Feed(Model):
    """The last position given. One row; its lock puts positions in order of commit."""

    __tablename__ = "feed"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(BigInteger)


def append(
    database: Database, clock: Clock, connection_id: UUID, happened: Sequence[Happened]
) -> None:
    """Add to the feed, in the transaction that changes the copy, as its last statement."""
    if not happened:
        return

    last = _take(database, len(happened))
    rows = [
        {"position": position, "connection_id": connection_id, **asdict(change)}
        for position, change in enumerate(happened, last - len(happened) + 1)
    ]
    database.execute(insert(ChangeRow).values(at=clock.database_time()), rows)


class Changes:
    """Reads the feed."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._single = single_statements(engine)
        self._clock = clock

    def after(self, position: int, limit: int = BATCH) -> Sequence[Change]:
        """The changes behind `position`, in order, at most `limit`. Begin with 0.

        Entries of a connection go when it is disconnected, and old ones once a later one of the
        same record exists: what is left, replayed from 0, gives the same copy.
        """
        behind = select(*_COLUMNS).where(ChangeRow.position > position)
        first = behind.order_by(ChangeRow.position).limit(limit)
        with self._single.connect() as database:
            return [Change(*columns) for columns in database.execute(first)]

    def clear(self) -> bool:
        """Remove old entries that a later one of the same record has made obsolete, in batches."""
        later = aliased(ChangeRow)
        follows = (
            later.connection_id == ChangeRow.connection_id,
            later.resource == ChangeRow.resource,
            later.record_id == ChangeRow.record_id,
            later.location_id == ChangeRow.location_id,
            later.position > ChangeRow.position,
        )
        old = ChangeRow.at < select(self._clock.database_time(-KEPT_SECONDS)).scalar_subquery()
        obsolete = select(ChangeRow.position).where(
            old, select(later.position).where(*follows).exists()
        )
        with self._single.connect() as database:
            found = database.scalars(obsolete.limit(CLEARED_AT_ONCE)).all()
            database.execute(delete(ChangeRow).where(ChangeRow.position.in_(found)))
        return len(found) == CLEARED_AT_ONCE


def _take(database: Database, number: int) -> int:
    """The last of `number` positions; the feed is this transaction's until its commit."""
    taking = update(Feed).where(Feed.id == LAST).values(position=Feed.position + number)
    taken: int | None = database.scalar(taking.returning(Feed.position))
    if taken is None:
        first = insert_into(database, Feed).values(id=LAST, position=0)
        database.execute(first.on_conflict_do_nothing())
        taken = database.scalar(taking.returning(Feed.position))
    assert taken is not None  # noqa: S101  the row exists now, and is never deleted
    return taken
