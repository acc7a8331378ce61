"""Statements on cursors: find what is due, claim, advance, postpone.

Only the owner of the lease can store a page. Each page renews the lease.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, case, func, select
from sqlalchemy import Connection as Database
from sqlalchemy.orm import Session, aliased

from app.connections.backoff import exponential, jitter
from app.connections.models import Connection
from app.database.clock import Clock, is_over
from app.database.engine import single_statements
from app.database.leased_rows import NO_LEASE, LeasedRows, LeaseLost, Range, first
from app.sync.due import LONGEST_PAUSE_SECONDS, cursor_ranges, is_active, next_pass
from app.sync.models import SyncAccount, SyncCursor
from app.sync.passes import Pass

LEASE_SECONDS = 50.0  # renewed with each page; if a worker dies, the cursor is free within a minute
RESOURCES = 8  # the most of one connection that are due at the same time
FIRST_PAUSE_SECONDS = 2.0  # back-off doubles with each failure

Columns = dict[str, Any]

_WELL: Columns = {"failures": 0, "failure": None, "failed_at": None, "next_attempt_at": None}


@dataclass(frozen=True)
class Claimed:
    """A claimed cursor, with its account."""

    cursor: SyncCursor
    #: The database's time of the claim.
    at: datetime
    account: SyncAccount
    #: Of the connection. If `account.connected_by` differs, the copy is of an earlier connect.
    connected_by: str
    factory_name: str | None

    @property
    def connection_id(self) -> UUID:
        """The connection of the cursor."""
        return self.cursor.connection_id


class Cursors:
    """The table of cursors."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._single = single_statements(engine)
        self._clock = clock
        self.rows = LeasedRows(engine, clock, SyncCursor, LEASE_SECONDS, _due)

    def due(self, limit: int) -> Sequence[tuple[UUID, str]]:
        """The cursors to read now, the longest due first, at most one of each connection.

        The cursor of a long list is due again after each chunk, behind all others that are due.
        """
        other = aliased(SyncCursor)
        at_work = select(other.resource).where(
            other.connection_id == SyncCursor.connection_id,
            ~is_over(other.lease_until, self._clock, 2 * LEASE_SECONDS),
        )
        found = select(SyncCursor.connection_id, SyncCursor.resource, SyncCursor.due_at).where(
            self.rows.is_free(), ~at_work.exists()
        )
        longest_due = first(found, _due(self._clock), limit * RESOURCES)
        first_of: dict[UUID, str] = {}
        with self._single.connect() as database:
            for connection_id, resource, _ in database.execute(longest_due):
                first_of.setdefault(connection_id, resource)
        return list(first_of.items())[:limit]

    def claim(self, connection_id: UUID, resource: str) -> Claimed | None:
        """Claim one cursor; None if it is not due or another worker holds it."""
        this_one = is_of(connection_id) & (SyncCursor.resource == resource)
        cursor = self.rows.claim(this_one, fence=SyncCursor.fence + 1)
        whose = (
            select(SyncAccount, Connection.connected_by, Connection.factory_name)
            .join(Connection, Connection.id == SyncAccount.connection_id)
            .where(Connection.id == connection_id)
        )
        with Session(self._single) as database:
            row = database.execute(whose).first() if cursor else None
        return Claimed(cursor, self.rows.claimed_at(cursor), *row) if cursor and row else None

    def hold(self, database: Database, held: Claimed) -> None:
        """Renew the lease, as the first step of a page's transaction. Raises LeaseLost.

        The row stays locked until the commit, so that no other worker stores a page in the
        meantime.
        """
        keep(database, held.connection_id)
        self.set(database, held, {"lease_until": self.rows.lease_until()})

    def set(self, database: Database, held: Claimed, values: Columns) -> None:
        """Set columns of a cursor that is still held. Raises LeaseLost."""
        if not self.rows.set_within(database, held.cursor, **values):
            raise LeaseLost

    def under_way(self, now: Pass, *, is_last: bool) -> Columns:
        """The columns of an unfinished pass; `is_last` releases the lease and makes it due now."""
        later = {"due_at": self._clock.database_time(), **NO_LEASE} if is_last else {}
        return now.columns() | _WELL | later

    def finished(self, held: Claimed, done: Pass, *, dated: bool) -> Columns:
        """The columns of a finished pass."""
        now = self._clock.database_time()
        position = max((at for at in (held.cursor.position, done.highest) if at), default=None)
        first_at = func.coalesce(SyncCursor.first_pass_at, now)
        whole = {"whole_at": now, "first_pass_at": first_at} if done.is_whole else {}
        over = {"position": position, "read_at": done.started_at, "page": None}
        due_at = {"due_at": next_pass(self._clock, done, dated=dated)}
        return done.columns() | over | whole | due_at | _WELL | NO_LEASE

    def release(self, held: Claimed, until: datetime | None = None) -> None:
        """Release the lease; due now, or at `until` if no hint came after the claim."""
        now = self._clock.database_time()
        due_at = case((SyncCursor.hinted_at >= held.at, now), else_=until) if until else now
        self.rows.finish(held.cursor, due_at=due_at)

    def put_off(self, held: Claimed, seconds: float) -> None:
        """Release the lease and postpone the next read; nothing has failed."""
        self.rows.finish(held.cursor, next_attempt_at=self._clock.database_time(seconds))

    def failed(self, held: Claimed, word: str) -> None:
        """Release the lease, back off, and store the reason, which pages show."""
        failures = held.cursor.failures
        pause = exponential(failures, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS) * jitter(0.8, 1)
        self.rows.finish(
            held.cursor,
            failures=failures + 1,
            failure=word,
            failed_at=self._clock.database_time(),
            next_attempt_at=self._clock.database_time(pause),
        )


def keep(database: Database, connection_id: UUID) -> None:
    """Lock the connection, so that a disconnect waits; call it first in a transaction.

    A disconnect locks the connection before the rows that refer to it. The same order here prevents
    a deadlock. The lock does not block a refresh. SQLite has one writer and ignores it.
    """
    row = select(Connection.id).where(Connection.id == connection_id)
    database.execute(row.with_for_update(read=True, key_share=True))


def is_of(connection_id: UUID) -> ColumnElement[bool]:
    """The cursors of a connection."""
    return SyncCursor.connection_id == connection_id


def _due(clock: Clock) -> Sequence[Range]:
    return cursor_ranges(clock, is_active(SyncCursor.connection_id))
