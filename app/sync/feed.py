"""The feed: every change of the copy in order, for your own code.

When a reader has read position N, no change with a lower position appears later. A database
sequence does not guarantee this: if two transactions take 7 and 8, and the second commits first, a
reader at 8 never sees 7. So positions come from one row of `feed`, which the transaction locks
until it commits. Positions follow the order of commits and have no gaps. The row is locked late in
the transaction, so that other writers wait only briefly.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, Engine, Index, Select, String, delete, insert, select, update
from sqlalchemy import Connection as Database
from sqlalchemy.orm import Mapped, mapped_column

from app.database.clock import Clock
from app.database.columns import Timestamp
from app.database.db import Model
from app.database.engine import insert_into, single_statements
from app.sync.models import connection_key

BATCH = 500
KEPT_SECONDS = 30 * 24 * 3600.0
CLEARED_AT_ONCE = 1000
LAST, FORGOTTEN = 1, 2  # the ids of the two rows of `feed`


class ChangeKind(StrEnum):
    """What happened to a record of the copy."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True)
class Happened:
    """A change of one record that has no position yet."""

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
    #: Katana's id. For stock it is the variant's id, and `location_id` is set, else 0.
    record_id: int
    location_id: int
    #: A ChangeKind.
    kind: str
    at: datetime


class ChangeRow(Model):
    """The table of changes, with the columns of `Change`."""

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
    """Two rows: the last position given, and the highest position of a deleted change."""

    __tablename__ = "feed"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(BigInteger)


class PositionTooOld(Exception):
    """Changes after this position have been deleted: the reader must start again from the copy."""


def append(
    database: Database, clock: Clock, connection_id: UUID, happened: Sequence[Happened]
) -> None:
    """Add changes to the feed, in the transaction that changes the copy."""
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
        self._engine = engine
        self._single = single_statements(engine)
        self._clock = clock

    def after(self, position: int, limit: int = BATCH) -> Sequence[Change]:
        """The changes after `position`, in order, at most `limit`.

        Disconnecting deletes the changes of a connection. Raises PositionTooOld.
        """
        behind = select(*_COLUMNS).where(ChangeRow.position > position)
        first = behind.order_by(ChangeRow.position).limit(limit)
        with self._single.connect() as database:
            found = [Change(*columns) for columns in database.execute(first)]
            # Read after the changes, so that a deletion in between is noticed.
            forgotten = database.scalar(_stored(FORGOTTEN))
        if position < (forgotten or 0):
            raise PositionTooOld

        return found

    def last(self) -> int:
        """The last position given. A new reader reads it before the copy, and continues from it."""
        with self._single.connect() as database:
            return database.scalar(_stored(LAST)) or 0

    def clear(self) -> bool:
        """Delete a batch of changes that are older than 30 days; True if there may be more."""
        old = self._clock.database_time(-KEPT_SECONDS)
        # The first by position, old or not, so that one batch is read at most. Changes that a
        # disconnect is deleting are skipped, since waiting for it could end in a deadlock.
        first = select(ChangeRow.position, ChangeRow.at < old).order_by(ChangeRow.position)
        batch = first.limit(CLEARED_AT_ONCE).with_for_update(skip_locked=True)
        with self._engine.begin() as database:
            found = [position for position, is_old in database.execute(batch) if is_old]
            if found:
                database.execute(delete(ChangeRow).where(ChangeRow.position.in_(found)))
                _forget(database, found[-1])
        return len(found) == CLEARED_AT_ONCE


def _forget(database: Database, position: int) -> None:
    row = insert_into(database, Feed).values(id=FORGOTTEN, position=0)
    database.execute(row.on_conflict_do_nothing())
    earlier = update(Feed).where(Feed.id == FORGOTTEN, Feed.position < position)
    database.execute(earlier.values(position=position))


def _take(database: Database, number: int) -> int:
    """Reserve `number` positions and return the last; the row is locked until the commit."""
    taking = update(Feed).where(Feed.id == LAST).values(position=Feed.position + number)
    taken: int | None = database.scalar(taking.returning(Feed.position))
    if taken is None:
        first = insert_into(database, Feed).values(id=LAST, position=0)
        database.execute(first.on_conflict_do_nothing())
        taken = database.scalar(taking.returning(Feed.position))
    assert taken is not None  # noqa: S101  the row exists now, and is never deleted
    return taken


def _stored(row: int) -> Select[int]:
    return select(Feed.position).where(Feed.id == row)
