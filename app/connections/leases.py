"""The SQL statements of the refresh protocol: read, claim, save, release, end.

Each is a transaction of its own and uses the database's clock; receivers of a signal may add to the
last one. docs/refresh-protocol.md has a table of the columns and of what a crash at each step
leaves.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    Engine,
    Executable,
    Float,
    String,
    Update,
    and_,
    bindparam,
    case,
    exists,
    func,
    null,
    or_,
    select,
    update,
)

from app.connections import history, saving
from app.connections.backoff import TAKEOVER_SECONDS
from app.connections.clock_bounds import (
    LEASE_AHEAD_SECONDS,
    LONGEST_LEASE_SECONDS,
    PAST_AHEAD_SECONDS,
    PAUSE_AHEAD_SECONDS,
    is_over,
)
from app.connections.host import UserId
from app.connections.models import Connection, ConnectionEvent, EventKind, Reason, Status
from app.connections.snapshot import Lease, Snapshot, snapshot_columns
from app.database.clock import Clock
from app.database.engine import single_reads, single_statements

SHORTEST_LEASE_SECONDS = 20  # time for Katana's answer, and to save it


class Leases:
    """The statements on the table `connections`."""

    def __init__(
        self, engine: Engine, clock: Clock, lease_seconds: float = LONGEST_LEASE_SECONDS
    ) -> None:
        self.lease_seconds = lease_seconds
        self._engine, self._reading = single_statements(engine), single_reads(engine)
        self._transactions = engine
        self._clock = clock
        # Built once: building a statement takes longer than running it.
        self._looking = select(*snapshot_columns(clock)).where(
            Connection.id == bindparam("looked_for")
        )
        self._claiming = _claiming(clock, lease_seconds)
        self._giving_back = _giving_back(clock)
        self._stepping_aside = _stepping_aside()
        self._ending = _ending(clock)
        self._finding = select(Connection.id).where(Connection.user_id == bindparam("whose"))
        self._recording, self._bounding = history.entry(clock), history.bound()

    def read(self, connection_id: UUID) -> Snapshot | None:
        """The connection as it is now; None where there is none."""
        row = self._row(self._looking, {"looked_for": connection_id})
        return Snapshot(*row) if row else None

    def claim(self, seen: Snapshot, owner: str | None = None) -> Lease | None:
        """Claim the lease on the row of a snapshot, and return what its holder may send.

        None if the row has changed, is leased, or is in back-off. With `owner`, the holder renews
        its own lease. From the commit on the token counts as possibly spent; a request that got no
        response before stays recorded in `doubtful_since`.
        """
        owner, claimed = owner or uuid4().hex, self._clock.monotonic()
        claim = {"claimant": owner, "seen_id": seen.id, "seen_generation": seen.generation}
        with self._engine.connect() as connection:
            row = connection.execute(self._claiming, claim).one_or_none()
        if row is None:
            return None

        took_over = seen.lease_until is not None
        return Lease(seen.id, seen.user_id, seen.generation, owner, claimed, took_over, *row)

    def save(
        self,
        lease: Lease,
        columns: Mapping[str, Any],
        *,
        pause: float = 0,
        failures: int = 0,
    ) -> bool:
        """Store the tokens that came for `lease`, and start a back-off of `pause` seconds.

        False if the row holds another grant or newer tokens.
        """
        return self._count(saving.save(self._clock, lease, columns, pause, failures))

    def is_saved(self, lease: Lease) -> bool:
        """Whether the row holds the tokens that came for `lease`; asked after a failed commit."""
        return self._row(saving.saved(lease)) is not None

    def knows(self, lease: Lease) -> bool:
        """Whether this database has the connection, or has recorded that it was disconnected."""
        disconnected = (
            ConnectionEvent.connection_id == lease.connection_id,
            ConnectionEvent.kind == EventKind.DISCONNECTED,
        )
        found = select(
            or_(
                exists().where(Connection.id == lease.connection_id),
                exists().where(*disconnected),
            )
        )
        row = self._row(found)
        return bool(row and row[0])

    def mark_possibly_spent(self, lease: Lease) -> None:
        """Mark stored tokens as possibly spent: an older request was answered after them."""
        self._count(saving.mark_possibly_spent(self._clock, lease))

    def release_after_failure(
        self, lease: Lease, pause: float, *, spent: bool, refused: bool = False
    ) -> bool:
        """Release the lease and start a back-off of `pause` seconds; False if it was not ours.

        `spent`: the token is possibly spent, so `sent_at` stays. `refused`: Katana refused the
        token, which is recorded only if the row still has the generation that was sent.
        """
        how = {"pause": pause, "in_doubt": spent or lease.doubtful, "was_refused": refused}
        return self._count(self._giving_back, {**_holder(lease, generation=True), **how})

    def release_unused(self, lease: Lease) -> None:
        """Release a lease under which nothing was sent."""
        self._count(self._stepping_aside, _holder(lease))

    def connected(self, user_id: UserId) -> bool:
        """Whether this user has a connection, this one or a newer one."""
        return self._row(self._finding, {"whose": user_id}) is not None

    def mark_reconnect_needed(self, lease: Lease, reason: Reason) -> bool:
        """Mark the connection `reconnect_needed`; False if lease or generation have changed.

        A refusal that follows earlier failures also counts towards the `RefusalBreaker`. A refusal
        after no failure does not: a process that died, or a restored backup, explains it.
        Receivers of `history.ending` may add rows in the same transaction.
        """
        how = {**_holder(lease, generation=True), "why": reason}
        with self._transactions.begin() as database:
            if database.execute(self._ending, how).rowcount != 1:
                return False

            history.announce_ending(database, lease.user_id, lease.connection_id, reason)
            return True

    def record(self, lease: Lease, kind: EventKind, detail: str | None = None) -> None:
        """Add an entry to the connection's history, and drop the oldest beyond its limit."""
        entry = history.values(lease.user_id, lease.connection_id, kind, detail)
        self._count(self._recording, entry)
        self._count(self._bounding, {"whose": lease.user_id})

    def _row(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Any] | None:
        with self._reading.connect() as connection:
            return connection.execute(statement, parameters).first()

    def _count(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> bool:
        with self._engine.connect() as connection:
            count: int = connection.execute(statement, parameters).rowcount
            return count == 1


def lease_seconds(overlap: int) -> float:
    """Seconds that a lease lasts, given the rotation grace period `overlap` in seconds.

    Without a grace period the longest lease: sending a token twice could only end the grant. With
    one, the next caller takes over while Katana still accepts the token.
    """
    if overlap == 0:
        return LONGEST_LEASE_SECONDS

    return min(LONGEST_LEASE_SECONDS, max(SHORTEST_LEASE_SECONDS, overlap - 5 - TAKEOVER_SECONDS))


_NO_LEASE: Mapping[str, Any] = {"lease_owner": None, "lease_until": None}
_HELD = and_(Connection.id == bindparam("held_id"), Connection.lease_owner == bindparam("held_by"))
_UNMOVED = Connection.generation == bindparam("sent_generation")


def _holder(lease: Lease, *, generation: bool = False) -> Mapping[str, Any]:
    sent = {"sent_generation": lease.generation} if generation else {}
    return {"held_id": lease.connection_id, "held_by": lease.owner, **sent}


def _claiming(clock: Clock, seconds: float) -> Update:
    now = clock.database_time()
    claimant: BindParameter[str] = bindparam("claimant", type_=String)
    mine = Connection.lease_owner == claimant
    earlier = func.coalesce(Connection.doubtful_since, Connection.sent_at)
    claim = update(Connection).where(
        Connection.id == bindparam("seen_id"),
        Connection.generation == bindparam("seen_generation"),
        Connection.status == Status.ACTIVE,
        or_(mine, is_over(Connection.lease_until, clock, LEASE_AHEAD_SECONDS)),
        is_over(Connection.next_attempt_at, clock, PAUSE_AHEAD_SECONDS),
    )
    return claim.values(
        lease_owner=claimant,
        lease_until=clock.database_time(seconds),
        fence=Connection.fence + 1,
        doubtful_since=case((mine, Connection.doubtful_since), else_=earlier),
        sent_at=now,
    ).returning(
        Connection.fence,
        Connection.sealed_refresh_token,
        Connection.refused_at,
        Connection.doubtful_since,
        Connection.failures,
        Connection.refreshed_at,
        Connection.failing_since,
        now,
    )


def _giving_back(clock: Clock) -> Update:
    now = clock.database_time()
    refused, in_doubt = (
        bindparam("was_refused", type_=Boolean),
        bindparam("in_doubt", type_=Boolean),
    )
    failing = Connection.failing_since.between(
        Connection.refreshed_at, clock.database_time(PAST_AHEAD_SECONDS)
    )
    return (
        update(Connection)
        .where(_HELD, or_(~refused, _UNMOVED))
        .values(
            **_NO_LEASE,
            sent_at=case((in_doubt, Connection.sent_at), else_=null()),
            refused_at=case((refused, now), else_=Connection.refused_at),
            failures=Connection.failures + 1,
            failing_since=case((failing, Connection.failing_since), else_=now),
            next_attempt_at=clock.database_time(bindparam("pause", type_=Float)),
        )
    )


def _stepping_aside() -> Update:
    unsent: ColumnElement[Any] = case(
        (Connection.doubtful_since.is_(None), null()), else_=Connection.sent_at
    )
    return update(Connection).where(_HELD).values(**_NO_LEASE, sent_at=unsent)


def _ending(clock: Clock) -> Update:
    refusal = case((Connection.failures > 0, clock.database_time()))
    return (
        update(Connection)
        .where(_HELD, _UNMOVED)
        .values(
            status=Status.RECONNECT_NEEDED,
            reason=bindparam("why"),
            refused_at=func.coalesce(refusal, Connection.refused_at),
            **_NO_LEASE,
            sent_at=None,
            next_attempt_at=None,
        )
    )
