"""The statements of the refresh protocol: look, claim, save, give back, end.

Each is a transaction of its own, judged by the database's clock, and built once. `refresh.py` says
when which is used, and why.
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
    """The connections' table, as far as refreshing is concerned."""

    def __init__(
        self, engine: Engine, clock: Clock, lease_seconds: float = LONGEST_LEASE_SECONDS
    ) -> None:
        self.lease_seconds = lease_seconds
        self._engine, self._reading = single_statements(engine), single_reads(engine)
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
        """The lease on what was seen, and what its holder may send.

        None where the row has moved, is leased, or is pausing. `owner` names the holder of a lease
        that is to be claimed again: it then begins anew.

        The token counts as perhaps spent from here on. An earlier request without a response stays
        on record as a doubt.
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
        """Store what `lease` bought; whether the row took it. Nobody asks for `pause` seconds."""
        return self._count(saving.save(self._clock, lease, columns, pause, failures))

    def is_saved(self, lease: Lease) -> bool:
        """Whether the row holds what `lease` bought: asked when a commit's own answer was lost."""
        return self._row(saving.saved(lease)) is not None

    def knows(self, lease: Lease) -> bool:
        """Whether this database has the connection, or its history says that it was disconnected.

        False for a connection of another database, or of one that was moved elsewhere.
        """
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
        """Our answer came too late for a newer sibling: let the next caller refresh at once."""
        self._count(saving.mark_possibly_spent(self._clock, lease))

    def release_after_failure(
        self, lease: Lease, pause: float, *, spent: bool, refused: bool = False
    ) -> bool:
        """End the lease without a grant, for a pause in seconds; whether it was still ours.

        `spent`: the token may be spent, so the doubt stays. `refused`: Katana did not take it,
        which is said of the token that was sent, and not of one that was saved meanwhile.
        """
        how = {"pause": pause, "in_doubt": spent or lease.doubtful, "was_refused": refused}
        return self._count(self._giving_back, {**_holder(lease, generation=True), **how})

    def release_unused(self, lease: Lease) -> None:
        """End the lease of one who sent nothing."""
        self._count(self._stepping_aside, _holder(lease))

    def connected(self, user_id: UserId) -> bool:
        """Whether this user has a connection, be it another one than a moment ago."""
        return self._row(self._finding, {"whose": user_id}) is not None

    def mark_reconnect_needed(self, lease: Lease, reason: Reason) -> bool:
        """The verdict: only the user can mend this connection. Whether the row took it.

        A refusal that follows earlier failures also counts towards the `RefusalBreaker`. A refusal
        after no failure does not: a process that died, or a restored backup, explains it.
        """
        return self._count(self._ending, {**_holder(lease, generation=True), "why": reason})

    def record(self, lease: Lease, kind: EventKind, detail: str | None = None) -> None:
        """Add to the connection's history."""
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
    """How long a lease lasts where Katana takes a spent token again for `overlap` seconds.

    Without an overlap as long as may be: a second send could only end the grant, and a slow holder
    may still save. With one, the next caller takes over while the overlap can still heal.
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
