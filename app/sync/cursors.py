"""The statements on cursors: what is due, claim it, advance it, put it off.

A cursor is claimed by one conditional UPDATE, like a refresh: its lease runs out when the holder
dies, and a page is stored only by the owner of the lease. All moments are the database's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Engine, and_, case, func, select, update
from sqlalchemy import Connection as Database
from sqlalchemy.orm import Session, aliased

from app.connections.backoff import exponential, jitter
from app.connections.models import Connection
from app.database.clock import Clock
from app.database.engine import single_statements
from app.sync import due
from app.sync.models import SyncAccount, SyncCursor
from app.sync.passes import Pass

LEASE_SECONDS = 50.0  # renewed with each page; a dead worker's cursor is free within a minute
RESOURCES = 8  # of one connection that may be due at the same time
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 3600.0  # back-off doubles with each failure


Columns = dict[str, Any]


@dataclass(frozen=True)
class Claimed:
    """A cursor as it was claimed, and whose data it is."""

    cursor: SyncCursor
    account: SyncAccount
    #: Of the connection: the copy is of another account where `account` has another one.
    connected_by: str
    factory_name: str | None
    at: datetime

    @property
    def connection_id(self) -> UUID:
        """Whose cursor it is."""
        return self.cursor.connection_id

    @property
    def is_of_this_account(self) -> bool:
        """Whether the copy belongs to the Katana account that is connected now."""
        return self.account.connected_by == self.connected_by


class Cursors:
    """The table of cursors."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._single = single_statements(engine)
        self._clock = clock

    def due(self, limit: int) -> Sequence[tuple[UUID, str]]:
        """What to read now, longest due first; one resource of each connection.

        A long list is due again at the end of each chunk, behind all others that are due.
        """
        other = aliased(SyncCursor)
        at_work = select(other.resource).where(
            other.connection_id == SyncCursor.connection_id,
            ~due.is_over(other.lease_until, self._clock, due.LEASE_AHEAD_SECONDS),
        )
        found = select(SyncCursor.connection_id, SyncCursor.resource, SyncCursor.due_at).where(
            due.is_free(self._clock), ~at_work.exists()
        )
        longest_due = due.first(found, due.cursor_ranges(self._clock), limit * RESOURCES)
        first: dict[UUID, str] = {}
        with self._single.connect() as database:
            for connection_id, resource, _ in database.execute(longest_due):
                first.setdefault(connection_id, resource)
        return list(first.items())[:limit]

    def claim(self, connection_id: UUID, resource: str) -> Claimed | None:
        """The right to read this one; None where it is not due, or somebody else's."""
        this_one = and_(
            is_of(connection_id), SyncCursor.resource == resource, due.is_claimable(self._clock)
        )
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            # A row that another worker is just claiming is passed over, not waited for.
            free = select(SyncCursor.fence).where(this_one).with_for_update(skip_locked=True)
            if session.execute(free).first() is None:
                return None

            claiming = (
                update(SyncCursor)
                .where(this_one)
                .values(
                    lease_owner=uuid4().hex,
                    lease_until=self._clock.database_time(LEASE_SECONDS),
                    fence=SyncCursor.fence + 1,
                )
                .returning(SyncCursor)
                .execution_options(synchronize_session=False)
            )
            cursor = session.scalar(claiming)
            account = session.get(SyncAccount, connection_id)
            now = self._clock.database_time()
            seen = select(Connection.connected_by, Connection.factory_name, now)
            row = session.execute(seen.where(Connection.id == connection_id)).first()
        return Claimed(cursor, account, *row) if cursor and account and row else None

    def hold(self, database: Database, held: Claimed) -> bool:
        """Renew the lease, first in a page's transaction; False where it is lost.

        The row stays locked until the commit, so that no other worker stores a page meanwhile.
        """
        keep(database, held.connection_id)
        lease = {"lease_until": self._clock.database_time(LEASE_SECONDS)}
        return (
            database.execute(update(SyncCursor).where(_is_held(held)).values(lease)).rowcount == 1
        )

    def set(self, database: Database, held: Claimed, values: Columns) -> None:
        """Set columns of a cursor that is still held."""
        database.execute(update(SyncCursor).where(_is_held(held)).values(values))

    def under_way(self, now: Pass, *, is_last: bool) -> Columns:
        """The columns of a pass that goes on; `is_last`: later, behind those that are due now."""
        later = {"due_at": self._clock.database_time(), **due.NO_LEASE} if is_last else {}
        return now.columns() | _WELL | later

    def finished(self, held: Claimed, done: Pass, *, dated: bool) -> Columns:
        """The columns of a pass that is over."""
        now = self._clock.database_time()
        position = max((at for at in (held.cursor.position, done.highest) if at), default=None)
        first = func.coalesce(SyncCursor.first_pass_at, now)
        whole = {"whole_at": now, "first_pass_at": first} if done.is_whole else {}
        over = {"position": position, "read_at": done.started_at, "page": None}
        next_pass = {"due_at": due.next_pass(self._clock, done, dated=dated)}
        return done.columns() | over | whole | next_pass | _WELL | due.NO_LEASE

    def release(self, held: Claimed, until: datetime | None = None) -> None:
        """Give it back as it is: due now, or from a moment on unless a hint has come meanwhile."""
        now = self._clock.database_time()
        due_at = case((SyncCursor.hinted_at >= held.at, now), else_=until) if until else now
        self._give_back(held, {"due_at": due_at})

    def put_off(self, held: Claimed, seconds: float) -> None:
        """Let nobody read it for so long; nothing has failed."""
        self._give_back(held, {"next_attempt_at": self._clock.database_time(seconds)})

    def failed(self, held: Claimed, word: str) -> None:
        """Back off, and say why on the page."""
        pause = exponential(held.cursor.failures, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        until = self._clock.database_time(pause * jitter(0.8, 1))
        now = self._clock.database_time()
        why = {"failures": SyncCursor.failures + 1, "failure": word, "failed_at": now}
        self._give_back(held, {**why, "next_attempt_at": until})

    def _give_back(self, held: Claimed, values: Columns) -> None:
        with self._single.connect() as database:
            self.set(database, held, values | due.NO_LEASE)


_WELL: Columns = {"failures": 0, "failure": None, "failed_at": None, "next_attempt_at": None}


def keep(database: Database, connection_id: UUID) -> None:
    """Let nobody disconnect before this transaction ends; call it first.

    Disconnecting locks the connection before what hangs on it. Who took the other order could end
    in a deadlock with it. It holds up no refresh, and on SQLite, with one writer, does nothing.
    """
    row = select(Connection.id).where(Connection.id == connection_id)
    database.execute(row.with_for_update(read=True, key_share=True))


def is_of(connection_id: UUID) -> ColumnElement[bool]:
    """The cursors of a connection."""
    return SyncCursor.connection_id == connection_id


def _is_held(held: Claimed) -> ColumnElement[bool]:
    return and_(
        is_of(held.connection_id),
        SyncCursor.resource == held.cursor.resource,
        SyncCursor.lease_owner == held.cursor.lease_owner,
    )
