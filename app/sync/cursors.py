"""The statements on cursors: what is due, claim it, advance it, put it off.

A cursor is claimed by one conditional UPDATE, like a refresh: its lease runs out when the holder
dies, and a page is stored only by the owner of the lease. All moments are the database's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Engine, and_, case, func, or_, select, update
from sqlalchemy import Connection as Database
from sqlalchemy.orm import Session, aliased

from app.connections.models import Connection, Status
from app.connections.pauses import jitter
from app.database.clock import Clock
from app.database.db import single_statements
from app.sync.models import SyncAccount, SyncCursor
from app.sync.passes import SETTLE, Pass
from app.sync.webhook import Webhook, WebhookState

LEASE_SECONDS = 50.0  # renewed with each page; a dead worker's cursor is free within a minute
RESOURCES = 8  # of one connection that may be due at the same time
POLL_SECONDS = 60.0  # from pass to pass without a working webhook
POLL_WITH_WEBHOOK_SECONDS = 300.0
SECONDS_PER_PAGE = 10.0  # a long list without dates is read less often: others need the budget
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 3600.0  # back-off doubles with each failure


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
            other.connection_id == SyncCursor.connection_id, other.lease_until > self._now()
        )
        found = (
            select(SyncCursor.connection_id, SyncCursor.resource)
            .where(self._is_claimable(), ~at_work.exists())
            .order_by(SyncCursor.due_at)
            .limit(limit * RESOURCES)
        )
        first: dict[UUID, str] = {}
        with self._single.connect() as database:
            for connection_id, resource in database.execute(found):
                first.setdefault(connection_id, resource)
        return list(first.items())[:limit]

    def claim(self, connection_id: UUID, resource: str) -> Claimed | None:
        """The right to read this one; None where it is not due, or somebody else's."""
        this_one = and_(is_of(connection_id), SyncCursor.resource == resource, self._is_claimable())
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

    def advance(self, database: Database, held: Claimed, values: dict[str, Any]) -> bool:
        """Set columns and renew the lease, first in a page's transaction; False where it is lost.

        The row stays locked until the commit, so that nobody else stores a page meanwhile.
        """
        keep(database, held.connection_id)
        lease = {"lease_until": self._clock.database_time(LEASE_SECONDS)}
        advanced = update(SyncCursor).where(_is_held(held)).values(lease | values)
        return database.execute(advanced).rowcount == 1

    def under_way(self, now: Pass, *, is_last: bool) -> dict[str, Any]:
        """The columns of a pass that goes on; `is_last`: later, behind those that are due now."""
        return now.columns() | _WELL | (self._released() if is_last else {})

    def finished(self, held: Claimed, done: Pass, *, dated: bool) -> dict[str, Any]:
        """The columns of a pass that is over."""
        now = self._clock.database_time()
        position = max((at for at in (held.cursor.position, done.highest) if at), default=None)
        first = func.coalesce(SyncCursor.first_pass_at, now)
        whole = {"whole_at": now, "first_pass_at": first} if done.is_whole else {}
        over = {"position": position, "read_at": done.started_at, "page": None}
        due = {"due_at": self._next(done, dated)}
        return done.columns() | over | whole | due | _WELL | _NO_LEASE

    def release(self, held: Claimed) -> None:
        """Give it back as it is."""
        self._set(held, self._released())

    def rest(self, held: Claimed, until: datetime) -> bool:
        """Give it back until a moment, unless a hint has come since the claim. Always true."""
        now = self._clock.database_time()
        self._set(
            held, {"due_at": case((SyncCursor.hinted_at > held.at, now), else_=until), **_NO_LEASE}
        )
        return True

    def note_swept(self, database: Database, held: Claimed, mark: int) -> None:
        """Remember that no row below `mark` is left."""
        this_one = and_(is_of(held.connection_id), SyncCursor.resource == held.cursor.resource)
        database.execute(update(SyncCursor).where(this_one).values(swept=mark))

    def put_off(self, held: Claimed, seconds: float) -> None:
        """Let nobody read it for so long; nothing has failed."""
        self._set(held, {"next_attempt_at": self._clock.database_time(seconds), **_NO_LEASE})

    def failed(self, held: Claimed, word: str) -> None:
        """Back off, and say why on the page."""
        pause = FIRST_PAUSE_SECONDS * 2.0 ** min(held.cursor.failures, 20)
        until = self._clock.database_time(min(pause, LONGEST_PAUSE_SECONDS) * jitter(0.8, 1))
        now = self._clock.database_time()
        why = {"failures": SyncCursor.failures + 1, "failure": word, "failed_at": now}
        self._set(held, {**why, "next_attempt_at": until, **_NO_LEASE})

    def _set(self, held: Claimed, values: dict[str, Any]) -> None:
        with self._single.connect() as database:
            database.execute(update(SyncCursor).where(_is_held(held)).values(values))

    def _released(self) -> dict[str, Any]:
        return {"due_at": self._clock.database_time(), **_NO_LEASE}

    def _is_claimable(self) -> ColumnElement[bool]:
        now, cursor = self._now(), SyncCursor
        active = Connection.status == Status.ACTIVE
        return and_(
            cursor.due_at <= now,
            or_(cursor.next_attempt_at.is_(None), cursor.next_attempt_at <= now),
            or_(cursor.lease_until.is_(None), cursor.lease_until < now),
            select(Connection.id).where(Connection.id == cursor.connection_id, active).exists(),
        )

    def _now(self) -> ColumnElement[Any]:
        # As a subquery, which PostgreSQL evaluates once: it looks up no index by its clock.
        return select(self._clock.database_time()).scalar_subquery()

    def _next(self, done: Pass, dated: bool) -> ColumnElement[Any]:
        """When the next pass is due: never later than the polling interval, and spread."""
        now = self._clock.database_time()
        hinted = SyncCursor.hinted_at >= done.started_at
        if dated and not done.is_single:  # what came behind its upper end is still to be read
            return case((hinted, now), else_=self._clock.database_time(SETTLE.total_seconds()))

        well = select(Webhook.connection_id).where(
            Webhook.connection_id == SyncCursor.connection_id, Webhook.state == WebhookState.ACTIVE
        )
        least, spread = 0 if dated else done.pages * SECONDS_PER_PAGE, jitter(0.8, 1)
        often = self._clock.database_time(max(POLL_SECONDS * spread, least))
        rarely = self._clock.database_time(max(POLL_WITH_WEBHOOK_SECONDS * spread, least))
        return case((hinted, now), (well.exists(), rarely), else_=often)


_NO_LEASE: dict[str, Any] = {"lease_owner": None, "lease_until": None}
_WELL: dict[str, Any] = {"failures": 0, "failure": None, "failed_at": None, "next_attempt_at": None}


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
