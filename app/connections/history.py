"""Events of a connection: a row of its history, a log line, and a signal for other code."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from blinker import Namespace
from flask import current_app, has_app_context
from sqlalchemy import Connection as Database
from sqlalchemy import Delete, Insert, bindparam, delete, insert, or_, select
from sqlalchemy.orm import aliased

from app.connections.host import UserId, db
from app.connections.models import ConnectionEvent, EventKind
from app.database.clock import Clock

KEPT = 100  # rows of history for each user

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """An event of a connection. Receivers of the signals get it as their argument."""

    kind: EventKind
    user_id: UserId
    connection_id: UUID
    #: refreshed: `recovered` if an earlier response had been lost, else None.
    #: refresh_failed: a RefreshOutcome, such as `answer_lost` or `client_refused`.
    #: reconnect_needed: the Reason. disconnected: the Revocation. connected: None.
    detail: str | None = None
    #: Refresh: seconds since the claim. Connect: duration of the code exchange. Otherwise None.
    duration_seconds: float | None = None
    #: Whether this refresh took over the expired lease of another process.
    took_over: bool = False

    def __str__(self) -> str:
        words = self.kind.replace("_", " ")
        text = f"connection {self.connection_id} of user {self.user_id}: {words}"
        if self.detail:
            text += f" ({self.detail})"
        if self.duration_seconds is not None:
            text += f" in {self.duration_seconds:.2f} s"
        return f"{text}, taken over" if self.took_over else text


_signals = Namespace()
#: The signal of a kind of event. Subscribe with `@refreshed.connect`. The receiver is called with
#: an Event after the commit, in the request or command that caused it. It has its own app context
#: and database session. An exception is logged and has no other effect. A slow receiver delays the
#: request: use a queue. The receiver must be a function at module level, because signals hold weak
#: references. It must not be a coroutine.
signal = _signals.signal
connected = signal(EventKind.CONNECTED)
refreshed = signal(EventKind.REFRESHED)
refresh_failed = signal(EventKind.REFRESH_FAILED)
reconnect_needed = signal(EventKind.RECONNECT_NEEDED)
disconnected = signal(EventKind.DISCONNECTED)
#: Sent before a disconnect, while the tokens are valid. A receiver must be quick.
disconnecting = signal("disconnecting")
#: Sent in the transaction that marks a connection `reconnect_needed`. `database` is its connection:
#: what a receiver writes with it is committed with the new status, or not at all. If a receiver
#: raises, the transaction is rolled back.
ending = signal("ending")

WARNINGS = frozenset({EventKind.REFRESH_FAILED, EventKind.RECONNECT_NEEDED})


def entry(clock: Clock) -> Insert:
    """The INSERT of `values()` into the history; run `trim()` after it."""
    return insert(ConnectionEvent).values(at=clock.database_time())


def values(
    user_id: UserId, connection_id: UUID, kind: EventKind, detail: str | None = None
) -> Mapping[str, Any]:
    """One row of the history, as the parameters of `entry()`."""
    return {"user_id": user_id, "connection_id": connection_id, "kind": kind, "detail": detail}


def trim() -> Delete:
    """The DELETE of all but the latest KEPT rows of the history of the user `this_user`."""
    row = aliased(ConnectionEvent)
    oldest_kept = (
        select(row.id)
        .where(row.user_id == bindparam("this_user"))
        .order_by(row.id.desc())
        .offset(KEPT - 1)
        .limit(1)
        .scalar_subquery()
    )
    return delete(ConnectionEvent).where(
        ConnectionEvent.user_id == bindparam("this_user"), ConnectionEvent.id < oldest_kept
    )


def announce(event: Event) -> None:
    """Log the event and call its receivers. Call this after the commit."""
    level = logging.WARNING if event.kind in WARNINGS else logging.INFO
    logger.log(level, "%s", event, extra=_fields(event))
    for receiver in signal(event.kind).receivers_for(event):
        _call(receiver, event)


def announce_disconnecting(user_id: UserId, connection_id: UUID) -> None:
    """Call the receivers of `disconnecting`. The caller must not have an open transaction."""
    event = Event(EventKind.DISCONNECTED, user_id, connection_id)
    for receiver in disconnecting.receivers_for(event):
        _call(receiver, event)


def announce_ending(database: Database, user_id: UserId, connection_id: UUID, reason: str) -> None:
    """Call the receivers of `ending`, within the transaction of the caller."""
    event = Event(EventKind.RECONNECT_NEEDED, user_id, connection_id, reason)
    ending.send(event, database=database)


def history(user_id: UserId, limit: int) -> Sequence[ConnectionEvent]:
    """The latest events of a user's connection, newest first.

    Plain refreshes are left out. During an update, an earlier version of the app still writes them.
    """
    listed = or_(ConnectionEvent.kind != EventKind.REFRESHED, ConnectionEvent.detail.is_not(None))
    latest = (
        select(ConnectionEvent)
        .where(ConnectionEvent.user_id == user_id, listed)
        .order_by(ConnectionEvent.id.desc())
        .limit(limit)
    )
    return db.session.scalars(latest).all()


def _fields(event: Event) -> Mapping[str, object]:
    seconds = event.duration_seconds
    return {
        "event": event.kind,
        "detail": event.detail,
        "connection_id": str(event.connection_id),
        "user_id": event.user_id,
        "duration_seconds": None if seconds is None else round(seconds, 3),
        "took_over": event.took_over,
    }


def _call(receiver: Callable[[Event], Any], event: Event) -> None:
    try:
        with _new_app_context():
            receiver(event)
    except Exception:  # a receiver may raise anything; the tokens are already saved
        logger.exception("a receiver of %s raised", event.kind)


def _new_app_context() -> AbstractContextManager[object]:
    # A receiver must not change the database session of the request.
    return current_app.app_context() if has_app_context() else nullcontext()
