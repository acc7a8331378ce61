"""Hints: a delivery or a user says that something may have changed.

A hint only makes a resource due. Several hints lead to one pass. A hint during a pass leads to
another pass after it. If a hint is lost, polling finds the change later.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, and_, case, delete, or_, select, true, update
from sqlalchemy import Connection as Database
from sqlalchemy.orm import InstrumentedAttribute

from app.database.clock import Clock
from app.database.engine import insert_into
from app.sync.cursors import Claimed, is_of, keep
from app.sync.models import SyncCursor, SyncHint

#: The ids of records to read first, by resource; the key None means every resource.
Due = Mapping[str | None, Sequence[int]]

AT_ONCE = 100  # records in one request
AGAIN_SECONDS = 10.0  # after a pass or a failure, until "Update now" makes a resource due again


class Hints:
    """The table of hints."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def hint(
        self, connection_id: UUID, resource: str | None = None, ids: Sequence[int] = ()
    ) -> None:
        """Make the resource, or all of them, due now; `ids` name the records to read first."""
        self.hint_each(connection_id, {resource: ids})

    def hint_each(self, connection_id: UUID, records: Due) -> None:
        """Make several resources due, with the records of each to read first, in one commit."""
        with self._engine.begin() as database:
            keep(database, connection_id)
            for resource, ids in records.items():
                only = SyncCursor.resource == resource if resource else true()
                if self._make_due(database, connection_id, only) and resource:
                    self._name(database, connection_id, resource, ids)

    def update_now(self, connection_id: UUID) -> bool:
        """Make every resource due, even during back-off; False if none was made due.

        A resource that was read or failed within the last seconds is left out. So a user who
        presses the button again and again does not use up the requests of the account.
        """
        rested = and_(self._is_past(SyncCursor.read_at), self._is_past(SyncCursor.failed_at))
        with self._engine.begin() as database:
            keep(database, connection_id)
            return self._make_due(database, connection_id, rested, next_attempt_at=None)

    def named(self, database: Database, held: Claimed) -> Sequence[int]:
        """The records to read first."""
        named = select(SyncHint.record_id).where(_of(held))
        return database.scalars(named.limit(AT_ONCE)).all()

    def forget(self, database: Database, held: Claimed, ids: Sequence[int]) -> None:
        """Delete the hints that came before the claim; later ones of the same records stay."""
        read = and_(_of(held), SyncHint.record_id.in_(ids), SyncHint.hinted_at <= held.at)
        database.execute(delete(SyncHint).where(read))

    def _make_due(
        self, database: Database, connection_id: UUID, only: ColumnElement[bool], **also: Any
    ) -> bool:
        now = self._clock.database_time()
        due = case((SyncCursor.due_at > now, now), else_=SyncCursor.due_at)
        hinting = update(SyncCursor).where(is_of(connection_id), only)
        return database.execute(hinting.values(hinted_at=now, due_at=due, **also)).rowcount > 0

    def _is_past(self, column: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
        """Whether the time is not within the last seconds. One in the future is a clock error."""
        ago, now = self._clock.database_time(-AGAIN_SECONDS), self._clock.database_time()
        return or_(column.is_(None), column <= ago, column > now)

    def _name(
        self, database: Database, connection_id: UUID, resource: str, ids: Sequence[int]
    ) -> None:
        now = {"hinted_at": self._clock.database_time()}
        for record_id in sorted(set(ids)):  # sorted, so that two transactions cannot deadlock
            keys = {"connection_id": connection_id, "resource": resource, "record_id": record_id}
            new = insert_into(database, SyncHint).values(keys | now)
            database.execute(new.on_conflict_do_update(index_elements=list(keys), set_=now))


def _of(held: Claimed) -> ColumnElement[bool]:
    return and_(
        SyncHint.connection_id == held.connection_id, SyncHint.resource == held.cursor.resource
    )
