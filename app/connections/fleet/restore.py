"""After a restore from a backup: verify each connection by a refresh before its tokens are used.

A backup may contain tokens that were spent, or whose grant ended, after it was made. The rows do
not show which. So each connection is marked: its access token counts as expired, and its refresh
token as possibly spent. The next refresh then decides at once. If the token is still valid,
Katana returns new tokens. If Katana refuses it, the user must reconnect, as after any lost
response. Such a refusal does not count for the circuit breaker.
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
    """Marks connections whose tokens must be verified."""

    def __init__(self, engine: Engine, idle: Idle, clock: Clock) -> None:
        self._engine = single_statements(engine)
        self._idle = idle
        self._clock = clock

    def mark_unverified(self, before: datetime) -> Iterator[int]:
        """Mark the active connections last refreshed before `before`; yields the number per batch.

        It may run beside live traffic and more than once: a refresh clears the mark, and
        connections refreshed after `before` are not marked.
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
                # Both columns: a holder that releases its lease unused keeps `sent_at` only if
                # `doubtful_since` is set.
                sent_at=func.coalesce(Connection.sent_at, now),
                doubtful_since=func.coalesce(Connection.doubtful_since, Connection.sent_at, now),
            )
        )
        with self._engine.connect() as connection:
            result: CursorResult[Any] = connection.execute(marking)
            return result.rowcount
