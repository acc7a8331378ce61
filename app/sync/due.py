"""When a resource is due: at once by a hint, else by polling, and not while it backs off."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, or_, select, union_all
from sqlalchemy.orm import InstrumentedAttribute

from app.connections.backoff import jitter
from app.connections.models import Connection, Status
from app.database import clock as database_clock
from app.database.clock import Clock
from app.sync.models import SyncCursor
from app.sync.passes import SETTLE, Pass
from app.sync.webhook import Webhook, WebhookState

POLL_SECONDS = 60.0  # from pass to pass without a working webhook
POLL_WITH_WEBHOOK_SECONDS = 300.0
SECONDS_PER_PAGE = 10.0  # a long list without dates is read less often: others need the budget

# What lies further ahead was written while the database's clock was wrong, and counts as over.
DUE_AHEAD_SECONDS = 6 * 3600.0  # a list of over 2,000 pages is due no later than that
PAUSE_AHEAD_SECONDS = 2 * 3600.0  # twice the longest pause
LEASE_AHEAD_SECONDS = 100.0  # twice a lease

NO_LEASE: dict[str, Any] = {"lease_owner": None, "lease_until": None}


class LeaseLost(Exception):
    """Another worker has taken over, or the user has reconnected or disconnected."""


def is_claimable(clock: Clock) -> ColumnElement[bool]:
    """Cursors that may be claimed now."""
    return and_(
        is_over(SyncCursor.due_at, clock, DUE_AHEAD_SECONDS),
        is_over(SyncCursor.next_attempt_at, clock, PAUSE_AHEAD_SECONDS),
        is_free(clock),
    )


def is_free(clock: Clock) -> ColumnElement[bool]:
    """Cursors of active connections whose lease is over."""
    cursor, active = SyncCursor, Connection.status == Status.ACTIVE
    return and_(
        is_over(cursor.lease_until, clock, LEASE_AHEAD_SECONDS),
        select(Connection.id).where(Connection.id == cursor.connection_id, active).exists(),
    )


def is_over(
    column: InstrumentedAttribute[Any], clock: Clock, longest: float
) -> ColumnElement[bool]:
    """Not set, past, or further ahead than `longest` seconds: the database's clock was wrong."""
    far = select(clock.database_time(longest)).scalar_subquery()
    return or_(column.is_(None), column <= now(clock), column > far)


@dataclass(frozen=True)
class Range:
    """A part of what is due, and the indexed column by whose order it is read."""

    rows: ColumnElement[bool]
    column: InstrumentedAttribute[Any]


def ranges(
    column: InstrumentedAttribute[Any], clock: Clock, longest: float, *also: ColumnElement[bool]
) -> Sequence[Range]:
    """Where `is_over` is true of a column that is set, as ranges of an index on the rows `also`."""
    far = select(clock.database_time(longest)).scalar_subquery()
    return [Range(and_(part, *also), column) for part in (column <= now(clock), column > far)]


def cursor_ranges(clock: Clock) -> Sequence[Range]:
    """What `is_claimable` says of `due_at` and `next_attempt_at`, as ranges of two indexes."""
    due_at, paused = SyncCursor.due_at, SyncCursor.next_attempt_at
    # Of few rows, and written so that PostgreSQL takes no index for it.
    is_due = database_clock.is_over(due_at, clock, DUE_AHEAD_SECONDS)
    return [
        *ranges(due_at, clock, DUE_AHEAD_SECONDS, paused.is_(None)),
        *ranges(paused, clock, PAUSE_AHEAD_SECONDS, paused.is_not(None), is_due),
    ]


def first(found: Select[*tuple[Any, ...]], of: Sequence[Range], limit: int) -> Select[Any]:
    """The first rows of `found`, whose last column is `due_at`, that lie in any of the ranges.

    Each range is a statement of its own within the one. With `OR` between them PostgreSQL reads
    what is due later as well: all that there is.
    """
    parts = [found.where(each.rows).order_by(each.column).limit(limit).subquery() for each in of]
    together = union_all(*(select(part) for part in parts)).subquery()
    return select(together).order_by(together.c.due_at).limit(limit)


def next_pass(clock: Clock, done: Pass, *, dated: bool) -> ColumnElement[Any]:
    """When the pass after `done` is due: never later than the polling interval, and spread."""
    at_once = clock.database_time()
    hinted = SyncCursor.hinted_at >= done.started_at
    if dated and not done.is_single:  # what came behind its upper end is still to be read
        return case((hinted, at_once), else_=clock.database_time(SETTLE.total_seconds()))

    well = select(Webhook.connection_id).where(
        Webhook.connection_id == SyncCursor.connection_id, Webhook.state == WebhookState.ACTIVE
    )
    least, spread = 0 if dated else done.pages * SECONDS_PER_PAGE, jitter(0.8, 1)
    often = clock.database_time(max(POLL_SECONDS * spread, least))
    rarely = clock.database_time(max(POLL_WITH_WEBHOOK_SECONDS * spread, least))
    return case((hinted, at_once), (well.exists(), rarely), else_=often)


def now(clock: Clock) -> ColumnElement[Any]:
    """The database's time as a subquery: PostgreSQL looks up no index by its clock itself."""
    return select(clock.database_time()).scalar_subquery()
