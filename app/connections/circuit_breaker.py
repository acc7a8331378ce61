"""Circuit breakers: distinguish an outage at Katana from a failure of one connection.

`RefusalBreaker` is shared by all processes. When Katana refuses the refresh tokens of many
connections in a row and accepts none in between, that is treated as an outage. The breaker is then
open: no connection is ended, and one refresh a minute is sent as a probe. The first success closes
it. Its state is computed from the connections' rows.

`FailureStreak` is for one run over many connections: it opens after failures of any kind in a row.
"""

from datetime import UTC, datetime
from threading import Lock
from uuid import UUID

from sqlalchemy import Engine, Select, bindparam, func, select

from app.connections.backoff import PROBE_SECONDS
from app.connections.models import Connection
from app.database.clock import PAST_AHEAD_SECONDS, Clock
from app.database.engine import single_statements

REFUSALS = 5  # opens after this many refused connections without a success ...
WITHIN_SECONDS = 3600  # ... within this time
RECENT_SECONDS = 3600  # `others_renewed` ignores refreshes that are older
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RefusalBreaker:
    """Counts refused connections, in the database."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = single_statements(engine)
        self._refusals_query = _refusals_query(clock)  # built once: used by every refresh
        self._others_query = _others_query(clock)

    def is_open(self) -> bool:
        """Whether the refusals in a row are treated as an outage."""
        refusals, _ = self._refusals()
        return refusals >= REFUSALS

    def allows_request(self) -> bool:
        """Whether a refresh may be sent now: always while closed, one probe a minute while open."""
        refusals, probe_is_due = self._refusals()
        return refusals < REFUSALS or probe_is_due

    def others_renewed(self, connection_id: UUID, since: datetime | None) -> bool:
        """Whether another connection was refreshed after `since`, and within the last hour."""
        if since is None:
            return False

        this_one = {"this_one": connection_id, "failing_since": since}
        with self._engine.connect() as connection:
            return connection.execute(self._others_query, this_one).first() is not None

    def _refusals(self) -> tuple[int, bool]:
        """The number of refusals since the last success, and whether a probe is due."""
        with self._engine.connect() as connection:
            refusals, probe_is_due = connection.execute(self._refusals_query).one()
        return int(refusals), bool(probe_is_due)


class FailureStreak:
    """Counts failures in a row over all threads of this process."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._length = 0
        self._lock = Lock()

    @property
    def is_open(self) -> bool:
        """Whether to stop sending."""
        return self._length >= self._longest

    def record(self, *, failed: bool) -> None:
        """Add a failure; a success sets the count to 0."""
        with self._lock:
            self._length = self._length + 1 if failed else 0


def _refusals_query(clock: Clock) -> Select[int, bool]:
    # A connect does not count: Katana may accept codes while it refuses refresh tokens.
    renewed = Connection.parent_generation.is_not(None)
    # Later times are ignored: they were written while the database's clock was wrong.
    now = clock.database_time(PAST_AHEAD_SECONDS)
    last_success = (
        select(func.max(Connection.refreshed_at))
        .where(renewed, Connection.refreshed_at < now)
        .scalar_subquery()
    )
    probe_is_due = func.max(Connection.refused_at) < clock.database_time(-PROBE_SECONDS)
    return select(func.count(), func.coalesce(probe_is_due, True)).where(
        # Without this line PostgreSQL expects a third of all rows and does not use the index.
        Connection.refused_at.is_not(None),
        Connection.refused_at > clock.database_time(-WITHIN_SECONDS),
        Connection.refused_at < now,
        Connection.refused_at > func.coalesce(last_success, EPOCH),
    )


def _others_query(clock: Clock) -> Select[UUID]:
    return (
        select(Connection.id)
        .where(
            Connection.id != bindparam("this_one"),
            Connection.parent_generation.is_not(None),
            Connection.refreshed_at > bindparam("failing_since"),
            Connection.refreshed_at > clock.database_time(-RECENT_SECONDS),
            Connection.refreshed_at < clock.database_time(PAST_AHEAD_SECONDS),
        )
        .limit(1)
    )
