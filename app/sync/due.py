"""When a resource is due: at once by a hint, else by polling, and not while it backs off."""

from typing import Any

from sqlalchemy import ColumnElement, and_, case, or_, select

from app.connections.models import Connection, Status
from app.connections.pauses import jitter
from app.database.clock import Clock
from app.sync.models import SyncCursor
from app.sync.passes import SETTLE, Pass
from app.sync.webhook import Webhook, WebhookState

POLL_SECONDS = 60.0  # from pass to pass without a working webhook
POLL_WITH_WEBHOOK_SECONDS = 300.0
SECONDS_PER_PAGE = 10.0  # a long list without dates is read less often: others need the budget


def is_claimable(clock: Clock) -> ColumnElement[bool]:
    """Cursors that may be claimed now."""
    cursor, active = SyncCursor, Connection.status == Status.ACTIVE
    return and_(
        cursor.due_at <= now(clock),
        or_(cursor.next_attempt_at.is_(None), cursor.next_attempt_at <= now(clock)),
        or_(cursor.lease_until.is_(None), cursor.lease_until < now(clock)),
        select(Connection.id).where(Connection.id == cursor.connection_id, active).exists(),
    )


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
