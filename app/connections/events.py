"""What happened to a connection: a row in its history, a line in the log, a signal for a fork."""

import logging
from collections.abc import Sequence
from uuid import UUID

from blinker import Namespace
from sqlalchemy import Insert, insert, select

from app.clock import Clock
from app.db import db
from app.models import ConnectionEvent, EventKind

logger = logging.getLogger(__name__)

_signals = Namespace()
#: Sent with the user's id as sender, and `connection_id` and `detail` by name. Subscribe with
#: `signal(EventKind.CONNECTED).connect(receiver)`; a receiver that raises is logged and harms
#: nothing.
signal = _signals.signal


def entry(
    clock: Clock, user_id: int, connection_id: UUID, kind: EventKind, detail: str | None = None
) -> Insert:
    """The statement that adds to the history, for the transaction of the use case."""
    return insert(ConnectionEvent).values(
        user_id=user_id,
        connection_id=connection_id,
        kind=kind,
        detail=detail,
        at=clock.database_time(),
    )


def announce(user_id: int, connection_id: UUID, kind: EventKind, detail: str | None = None) -> None:
    """Log it and tell whoever subscribed. Call it once the row is committed."""
    level = (
        logging.WARNING
        if kind in {EventKind.REFRESH_FAILED, EventKind.RECONNECT_NEEDED}
        else logging.INFO
    )
    logger.log(
        level,
        "connection %s of user %s: %s%s",
        connection_id,
        user_id,
        kind,
        f" ({detail})" if detail else "",
    )
    for receiver in signal(kind).receivers_for(user_id):
        try:
            receiver(user_id, connection_id=connection_id, detail=detail)
        except Exception:  # a fork's receiver may raise anything, and the grant is already safe
            logger.exception("a receiver of %s raised", kind)


def history(user_id: int, limit: int = 10) -> Sequence[ConnectionEvent]:
    """The latest events of a user's connection, newest first."""
    latest = (
        select(ConnectionEvent)
        .where(ConnectionEvent.user_id == user_id)
        .order_by(ConnectionEvent.id.desc())
        .limit(limit)
    )
    return db.session.scalars(latest).all()
