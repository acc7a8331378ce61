"""After a restore from a backup: trust no stored token until a refresh has verified it.

A backup holds refresh tokens that have been spent since, and access tokens of grants that have
ended since. Nothing in it tells which. So each connection is marked: its access token is not used
any more, and its refresh token counts as one that was sent and whose answer never reached this
database, which is just what has happened to a spent one. The next refresh then settles it at once:
a token that is still good brings the next one, a spent one asks the user to connect again. It is
told apart from a refusal out of the blue, so it is not taken for trouble at Katana either.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CursorResult, Engine, func, or_, update

from app.connections.fleet.keep_alive import Idle
from app.connections.models import Connection, Status
from app.database.clock import PAST_AHEAD_SECONDS, Clock
from app.database.engine import single_statements


class Restore:
    """Marks connections to be verified before they are used."""

    def __init__(self, engine: Engine, idle: Idle, clock: Clock) -> None:
        self._engine = single_statements(engine)
        self._idle = idle
        self._clock = clock

    def require(self, before: datetime) -> Iterator[int]:
        """Mark the active connections last renewed before a moment; how many, batch by batch.

        It may run beside live traffic and more than once: a refresh under way clears the mark, and
        one that has come since the moment makes it needless.
        """
        for batch in self._idle.batches(before):
            yield self._mark([seen.id for seen in batch], before)

    def _mark(self, ids: Sequence[UUID], before: datetime) -> int:
        now = self._clock.database_time()
        marking = (
            update(Connection)
            .where(
                Connection.id.in_(ids),
                Connection.status == Status.ACTIVE,
                or_(
                    Connection.refreshed_at < before,
                    Connection.refreshed_at > self._clock.database_time(PAST_AHEAD_SECONDS),
                ),
            )
            .values(
                expires_at=now,
                renew_at=now,
                # Both, so that who holds a lease right now and sends nothing leaves the doubt.
                sent_at=func.coalesce(Connection.sent_at, now),
                doubtful_since=func.coalesce(Connection.doubtful_since, Connection.sent_at, now),
            )
        )
        with self._engine.connect() as connection:
            result: CursorResult[Any] = connection.execute(marking)
            return result.rowcount
