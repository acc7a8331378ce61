"""Katana's own trouble, told from the end of a user's grant.

When many different connections are refused and none is renewed in between, the users have not all
left in the same minute: Katana errs. Then no connection is ended, and only one is tried every now
and then, until one succeeds.
"""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Engine, Select, bindparam, func, select

from app.connections.backoff import PROBE_SECONDS
from app.connections.clock_bounds import PAST_AHEAD_SECONDS
from app.connections.models import Connection
from app.database.clock import Clock
from app.database.engine import single_statements

REFUSALS = 5  # different connections, none renewed in between, ...
WITHIN_SECONDS = 3600  # ... within this time
LATELY_SECONDS = 3600  # others count as renewed if one was within this time
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class RefusalBreaker:
    """Reads from the connections whether there is an incident."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = single_statements(engine)
        self._counting = _counting(clock)  # built once: every refresh asks
        self._others = _others(clock)

    def is_open(self) -> bool:
        """Whether Katana refuses so many in a row that the fault must be its own."""
        refusals, _ = self._refusals()
        return refusals >= REFUSALS

    def allows_request(self) -> bool:
        """Whether a refresh may be sent: always, but during an incident only as a probe."""
        refusals, quiet = self._refusals()
        return refusals < REFUSALS or quiet

    def others_renewed(self, connection_id: UUID, since: datetime | None) -> bool:
        """Whether others were renewed since this one began to fail, and one of them lately."""
        if since is None:
            return False

        this_one = {"this_one": connection_id, "failing_since": since}
        with self._engine.connect() as connection:
            return connection.execute(self._others, this_one).first() is not None

    def _refusals(self) -> tuple[int, bool]:
        """How many were refused since the last success, and whether the last is a while ago."""
        with self._engine.connect() as connection:
            refusals, is_quiet = connection.execute(self._counting).one()
        return int(refusals), bool(is_quiet)


def _counting(clock: Clock) -> Select[int, bool]:
    # Connecting is no success of this kind: codes may be taken while refresh tokens are not.
    renewed = Connection.parent_generation.is_not(None)
    # What lies ahead was written while the database's clock was wrong.
    now = clock.database_time(PAST_AHEAD_SECONDS)
    last_success = (
        select(func.max(Connection.refreshed_at))
        .where(renewed, Connection.refreshed_at < now)
        .scalar_subquery()
    )
    quiet = func.max(Connection.refused_at) < clock.database_time(-PROBE_SECONDS)
    return select(func.count(), func.coalesce(quiet, True)).where(
        Connection.refused_at > clock.database_time(-WITHIN_SECONDS),
        Connection.refused_at < now,
        Connection.refused_at > func.coalesce(last_success, NEVER),
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
