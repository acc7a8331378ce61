"""How well the copy is kept: for pages, `flask doctor` and the metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine, func, select

from app.connections.models import Connection
from app.database.clock import Clock
from app.database.engine import single_reads
from app.sync.models import SetAside, SyncAccount, SyncCursor


@dataclass(frozen=True)
class Status:
    """One resource of a connection."""

    #: The database's time when this was read.
    at: datetime
    #: Moves on whenever a worker begins to read it, and ...
    fence: int
    #: ... until when that one has it; None where none does.
    lease_until: datetime | None
    #: When it is to be read next.
    due_at: datetime
    #: The copy is as of this moment; None before the first pass is through.
    as_of: datetime | None
    #: Of the pass under way, or of the last one.
    seen: int
    total: int
    is_first_pass: bool
    #: Why the last attempt failed, such as `forbidden`; None after a success.
    failure: str | None
    failed_at: datetime | None
    next_attempt_at: datetime | None
    #: No request before this moment: Katana has asked to wait.
    paused_until: datetime | None
    #: Records that cannot be read.
    set_aside: int


def status(engine: Engine, clock: Clock, connection_id: UUID) -> Mapping[str, Status]:
    """By resource; empty where nothing of the account that is connected now was read yet."""
    cursor, account = SyncCursor, SyncAccount
    aside = select(func.count()).where(
        SetAside.connection_id == cursor.connection_id, SetAside.resource == cursor.resource
    )
    found = (
        select(
            cursor.resource,
            clock.database_time(),
            cursor.fence,
            cursor.lease_until,
            cursor.due_at,
            cursor.read_at,
            cursor.seen,
            cursor.total,
            cursor.first_pass_at.is_(None),
            cursor.failure,
            cursor.failed_at,
            cursor.next_attempt_at,
            account.paused_until,
            aside.scalar_subquery(),
        )
        .join(account, account.connection_id == cursor.connection_id)
        .join(Connection, Connection.id == cursor.connection_id)
        .where(
            cursor.connection_id == connection_id, account.connected_by == Connection.connected_by
        )
    )
    with single_reads(engine).connect() as database:
        return {name: Status(*columns) for name, *columns in database.execute(found)}
