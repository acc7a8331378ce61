"""The statements of the refresh protocol: look, claim, read, save, give back, end.

Each is a transaction of its own, judged by the database's clock. `refresh.py` says when which is
used, and why.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Engine,
    Executable,
    and_,
    bindparam,
    case,
    func,
    null,
    or_,
    select,
    true,
    update,
)

from app.connections import events, saving
from app.connections.models import Connection, EventKind, Reason, Status
from app.connections.seen import Held, Lease, Seen, seen_columns
from app.database.clock import Clock
from app.database.db import single_reads, single_statements

LONGEST_LEASE_SECONDS = 60  # a dead holder blocks nobody longer
SHORTEST_LEASE_SECONDS = 20  # time for Katana's answer, and to save it
REFUSAL_COUNTS_SECONDS = 3600  # a second refusal within this time confirms the first


class Leases:
    """The connections' table, as far as refreshing is concerned."""

    def __init__(
        self, engine: Engine, clock: Clock, lease_seconds: float = LONGEST_LEASE_SECONDS
    ) -> None:
        self.lease_seconds = lease_seconds
        self._engine, self._reading = single_statements(engine), single_reads(engine)
        self._clock = clock
        # Every use of a token looks, and building the statement would take longer than running it.
        self._looking = select(*seen_columns(clock)).where(Connection.id == bindparam("looked_for"))

    def look(self, connection_id: UUID) -> Seen | None:
        """The connection as it is now; None where there is none."""
        row = self._row(self._looking, {"looked_for": connection_id})
        return Seen(*row) if row else None

    def claim(self, seen: Seen) -> Lease | None:
        """The lease on what was seen; None where the row has moved, is leased, or is pausing.

        The token counts as perhaps spent from here on. An earlier send whose answer never came
        stays on record as a doubt.
        """
        now = self._clock.database_time()
        lease = Lease(
            connection_id=seen.id,
            user_id=seen.user_id,
            generation=seen.generation,
            owner=uuid4().hex,
            claimed=self._clock.monotonic(),
            took_over=seen.lease_until is not None,
        )
        taken = self._count(
            update(Connection)
            .where(
                Connection.id == seen.id,
                Connection.generation == seen.generation,
                Connection.status == Status.ACTIVE,
                or_(Connection.lease_until.is_(None), Connection.lease_until < now),
                or_(Connection.next_attempt_at.is_(None), Connection.next_attempt_at <= now),
            )
            .values(
                lease_owner=lease.owner,
                lease_until=self._clock.database_time(self.lease_seconds),
                fence=Connection.fence + 1,
                doubtful_since=func.coalesce(Connection.doubtful_since, Connection.sent_at),
                sent_at=now,
            )
        )
        return lease if taken else None

    def read(self, lease: Lease) -> Held | None:
        """What the holder may send; None where lease or grant is no longer the one claimed."""
        row = self._row(
            select(
                Connection.fence,
                Connection.sealed_refresh_token,
                func.coalesce(
                    Connection.refused_at > self._clock.database_time(-REFUSAL_COUNTS_SECONDS),
                    False,
                ),
                Connection.doubtful_since.is_not(None),
                Connection.failures,
            ).where(_held_by(lease), Connection.generation == lease.generation)
        )
        return Held(*row) if row else None

    def save(
        self,
        lease: Lease,
        held: Held,
        columns: Mapping[str, Any],
        *,
        pause: float = 0,
        failures: int = 0,
    ) -> bool:
        """Store what `lease` bought; whether the row took it. Nobody asks for `pause` seconds."""
        return self._count(saving.save(self._clock, lease, held, columns, pause, failures))

    def saved(self, lease: Lease, held: Held) -> bool:
        """Whether the row holds what `lease` bought: asked when a commit's own answer was lost."""
        return self._row(saving.saved(lease, held)) is not None

    def leave_in_doubt(self, lease: Lease, held: Held) -> None:
        """Our answer came too late for a newer sibling: let the next caller refresh at once."""
        self._count(saving.leave_in_doubt(self._clock, lease, held))

    def give_back(
        self, lease: Lease, held: Held, pause: float, *, spent: bool, refused: bool = False
    ) -> bool:
        """End the lease without a grant, for a pause in seconds; whether it was still ours.

        `spent`: the token may be spent, so the doubt stays. `refused`: Katana did not take it,
        which is said of the token that was sent, and not of one that was saved meanwhile.
        """
        refusal = {"refused_at": self._clock.database_time()} if refused else {}
        its_token = Connection.generation == lease.generation if refused else true()
        whole = {} if spent or held.doubtful else {"sent_at": None}
        return self._count(
            update(Connection)
            .where(_held_by(lease), its_token)
            .values(
                **_NO_LEASE,
                **whole,
                **refusal,
                failures=Connection.failures + 1,
                next_attempt_at=self._clock.database_time(pause),
            )
        )

    def step_aside(self, lease: Lease) -> None:
        """End the lease of one who sent nothing."""
        unsent = case((Connection.doubtful_since.is_(None), null()), else_=Connection.sent_at)
        self._count(update(Connection).where(_held_by(lease)).values(**_NO_LEASE, sent_at=unsent))

    def connected(self, user_id: int) -> bool:
        """Whether this user has a connection, be it another one than a moment ago."""
        return self._row(select(Connection.id).where(Connection.user_id == user_id)) is not None

    def end(self, lease: Lease, reason: Reason) -> bool:
        """The verdict: only the user can mend this connection. Whether the row took it.

        Where Katana had failed before, its refusal may be part of the same trouble: it is counted
        as one (`Incidents`). Where it had not, the doubt was of our own making, by a process that
        died or a database from a backup, and says nothing of Katana.
        """
        refusal = case((Connection.failures > 0, self._clock.database_time()))
        return self._count(
            update(Connection)
            .where(_held_by(lease), Connection.generation == lease.generation)
            .values(
                status=Status.RECONNECT_NEEDED,
                reason=reason,
                refused_at=func.coalesce(refusal, Connection.refused_at),
                **_NO_LEASE,
                sent_at=None,
                next_attempt_at=None,
            )
        )

    def record(self, lease: Lease, kind: EventKind, detail: str | None = None) -> None:
        """Add to the connection's history."""
        self._count(events.entry(self._clock, lease.user_id, lease.connection_id, kind, detail))

    def _row(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Any] | None:
        with self._reading.connect() as connection:
            return connection.execute(statement, parameters).first()

    def _count(self, statement: Executable) -> bool:
        with self._engine.connect() as connection:
            result: CursorResult[Any] = connection.execute(statement)
            return result.rowcount == 1


_NO_LEASE: Mapping[str, Any] = {"lease_owner": None, "lease_until": None}


def lease_seconds(overlap: int) -> float:
    """How long a lease lasts where Katana takes a spent token again for `overlap` seconds.

    Without an overlap as long as may be: a second send could only end the grant, and a slow holder
    may still save. With one, the next caller takes over while the overlap can still heal.
    """
    if overlap == 0:
        return LONGEST_LEASE_SECONDS

    return min(LONGEST_LEASE_SECONDS, max(SHORTEST_LEASE_SECONDS, overlap - 5))


def _held_by(lease: Lease) -> ColumnElement[bool]:
    return and_(Connection.id == lease.connection_id, Connection.lease_owner == lease.owner)
