"""When a resource is due: at once by a hint, else by polling, and not while it backs off."""

from typing import Any

from sqlalchemy import ColumnElement, and_, case, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from app.connections.backoff import jitter
from app.connections.models import Connection, Status
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
    cursor, active = SyncCursor, Connection.status == Status.ACTIVE
    return and_(
        is_over(cursor.due_at, clock, DUE_AHEAD_SECONDS),
        is_over(cursor.next_attempt_at, clock, PAUSE_AHEAD_SECONDS),
        is_over(cursor.lease_until, clock, LEASE_AHEAD_SECONDS),
        select(Connection.id).where(Connection.id == cursor.connection_id, active).exists(),
    )


def is_over(
    column: InstrumentedAttribute[Any], clock: Clock, longest: float
) -> ColumnElement[bool]:
    """Not set, past, or further ahead than `longest` seconds: the database's clock was wrong."""
    far = select(clock.database_time(longest)).scalar_subquery()
    return or_(column.is_(None), column <= now(clock), column > far)


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
