"""When a resource is due: at once after a hint, else by polling; not during back-off."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, case, select
from sqlalchemy.orm import InstrumentedAttribute

from app.connections.backoff import exponential, jitter
from app.connections.models import Connection, Status
from app.database.clock import Clock, is_over
from app.database.leased_rows import Range, ranges
from app.errors import ApiBusy, ConnectError, ReconnectNeeded, TryAgainLater
from app.sync.models import SyncCursor, Webhook, WebhookState
from app.sync.passes import SETTLE, Pass

POLL_SECONDS = 60.0  # between two passes, without a working webhook
POLL_WITH_WEBHOOK_SECONDS = 300.0
SECONDS_PER_PAGE = 10.0  # a long list without `updated_at` is read less often, to save requests
LONGEST_PAUSE_SECONDS = 3600.0

# A stored time further ahead counts as past: the database's clock was wrong.
DUE_AHEAD_SECONDS = 6 * 3600.0  # enough for a list of 2,000 pages
PAUSE_AHEAD_SECONDS = 2 * LONGEST_PAUSE_SECONDS


def is_active(connection_id: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    """Whether the connection of this row is active."""
    its = Connection.id == connection_id, Connection.status == Status.ACTIVE
    return select(Connection.id).where(*its).exists()


def cursor_ranges(clock: Clock, *also: ColumnElement[bool]) -> Sequence[Range]:
    """The cursors that are due and not in back-off, as ranges of two indexes."""
    due_at, paused = SyncCursor.due_at, SyncCursor.next_attempt_at
    # A filter on few rows, written so that PostgreSQL uses no index for it.
    is_due = is_over(due_at, clock, DUE_AHEAD_SECONDS)
    return [
        *ranges(due_at, clock, DUE_AHEAD_SECONDS, paused.is_(None), *also),
        *ranges(paused, clock, PAUSE_AHEAD_SECONDS, paused.is_not(None), is_due, *also),
    ]


def next_pass(clock: Clock, done: Pass, *, dated: bool) -> ColumnElement[Any]:
    """When the pass after `done` is due: at once after a hint, else by polling, with jitter."""
    at_once = clock.database_time()
    hinted = SyncCursor.hinted_at >= done.started_at
    if dated and not done.is_single:  # changes after the end of its window are still to be read
        return case((hinted, at_once), else_=clock.database_time(SETTLE.total_seconds()))

    well = and_(
        Webhook.connection_id == SyncCursor.connection_id, Webhook.state == WebhookState.ACTIVE
    )
    has_webhook = select(Webhook.connection_id).where(well).exists()
    least, spread = 0 if dated else done.pages * SECONDS_PER_PAGE, jitter(0.8, 1)
    often = clock.database_time(max(POLL_SECONDS * spread, least))
    rarely = clock.database_time(max(POLL_WITH_WEBHOOK_SECONDS * spread, least))
    return case((hinted, at_once), (has_webhook, rarely), else_=often)


def pause_after(error: ConnectError, failures: int, first: float) -> tuple[float, int]:
    """The back-off in seconds after an error, and the new number of failures in a row."""
    if isinstance(error, ReconnectNeeded):
        return 0, failures  # nothing of it is claimed until the user has reconnected
    if isinstance(error, ApiBusy | TryAgainLater):
        return error.retry_after, failures

    return exponential(failures, first, LONGEST_PAUSE_SECONDS), failures + 1
