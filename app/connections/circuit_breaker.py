"""Circuit breakers: tell an outage at Katana from the trouble of one connection.

`RefusalBreaker` is shared by all processes. When Katana refuses the refresh tokens of many
connections in a row and renews none in between, that is treated as an outage. The breaker is then
open: no connection is ended, and one connection a minute is tried as a probe. The first success
closes it. The state is read from the connections' rows.

`FailureStreak` is for one run over many connections: it stops after failures of any kind in a row.
"""

from datetime import UTC, datetime
from threading import Lock
from uuid import UUID

from sqlalchemy import Engine, Select, bindparam, func, select

from app.connections.backoff import PROBE_SECONDS
from app.connections.models import Connection
from app.database.clock import PAST_AHEAD_SECONDS, Clock
from app.database.engine import single_statements

REFUSALS = 5  # different connections, none renewed in between, ...
WITHIN_SECONDS = 3600  # ... within this time
LATELY_SECONDS = 3600  # others count as renewed if one was within this time
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RefusalBreaker:
    """Counts refused connections, in the database."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = single_statements(engine)
        self._counting = _counting(clock)  # built once: every refresh asks
        self._others = _others(clock)

    def is_open(self) -> bool:
        """Whether so many were refused in a row that it counts as an outage."""
        refusals, _ = self._refusals()
        return refusals >= REFUSALS

    def allows_request(self) -> bool:
        """Whether a refresh may be sent now: always while closed, one probe a minute while open."""
        refusals, probe_is_due = self._refusals()
        return refusals < REFUSALS or probe_is_due

    def others_renewed(self, connection_id: UUID, since: datetime | None) -> bool:
        """Whether others were renewed since this one began to fail, and one of them lately."""
        if since is None:
            return False

        this_one = {"this_one": connection_id, "failing_since": since}
        with self._engine.connect() as connection:
            return connection.execute(self._others, this_one).first() is not None

    def _refusals(self) -> tuple[int, bool]:
        """How many were refused since the last success, and whether a probe is due."""
        with self._engine.connect() as connection:
            refusals, probe_is_due = connection.execute(self._counting).one()
        return int(refusals), bool(probe_is_due)


class FailureStreak:
    """Counts failures in a row, in this process, whichever thread saw them."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._length = 0
        self._lock = Lock()

    @property
    def is_open(self) -> bool:
        """Whether to send no more."""
        return self._length >= self._longest

    def note(self, *, failed: bool) -> None:
        """Add a failure, or begin anew after a success."""
        with self._lock:
            self._length = self._length + 1 if failed else 0


def _counting(clock: Clock) -> Select[int, bool]:
    # A connect does not count: Katana may accept codes while it refuses refresh tokens.
    renewed = Connection.parent_generation.is_not(None)
    # A later time was written while the database's clock was wrong.
    now = clock.database_time(PAST_AHEAD_SECONDS)
    last_success = (
        select(func.max(Connection.refreshed_at))
        .where(renewed, Connection.refreshed_at < now)
        .scalar_subquery()
    )
    probe_is_due = func.max(Connection.refused_at) < clock.database_time(-PROBE_SECONDS)
    return select(func.count(), func.coalesce(probe_is_due, True)).where(
        # Else PostgreSQL takes what is compared with a subquery for a third of all rows.
        Connection.refused_at.is_not(None),
        Connection.refused_at > clock.database_time(-WITHIN_SECONDS),
        Connection.refused_at < now,
        Connection.refused_at > func.coalesce(last_success, EPOCH),
    )


def _others(clock: Clock) -> Select[UUID]:
    return (
        select(Connection.id)
        .where(
            Connection.id != bindparam("this_one"),
            Connection.parent_generation.is_not(None),
            Connection.refreshed_at > bindparam("failing_since"),
            Connection.refreshed_at > clock.database_time(-LATELY_SECONDS),
            Connection.refreshed_at < clock.database_time(PAST_AHEAD_SECONDS),
        )
        .limit(1)
    )
