"""Which answer of Katana's a connection takes: compare-and-swap on the generation that was sent.

An answer holds the only living token, so a late one is not thrown away for being late: not for a
lease that has run out, and not for a verdict that was passed meanwhile. It has to give way only to
another grant, and to a newer answer to the same token.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, Update, and_, case, null, or_, select, update

from app.connections.models import Connection, Status
from app.connections.snapshot import Lease
from app.database.clock import Clock


def save(
    clock: Clock,
    lease: Lease,
    columns: Mapping[str, Any],
    pause: float,
    failures: int,
) -> Update:
    """Takes what `lease` bought, where the generation is still the one that was sent.

    Where another answer to the same token is stored, the one that was sent later wins, since its
    token is the newer one. A success also outweighs a verdict: the status does not matter. A
    reconnect leaves no parent generation, so nothing that is sent before it comes after it.
    """
    mine = Connection.lease_owner == lease.owner
    unmoved = Connection.generation == lease.generation
    sibling = and_(_of_the_same_token(lease), Connection.written_fence < lease.fence)
    return (
        update(Connection)
        .where(Connection.id == lease.connection_id, or_(unmoved, sibling))
        .values(
            **columns,
            status=Status.ACTIVE,
            reason=None,
            generation=Connection.generation + 1,
            parent_generation=lease.generation,
            written_fence=lease.fence,
            lease_owner=case((mine, null()), else_=Connection.lease_owner),
            lease_until=case((mine, null()), else_=Connection.lease_until),
            sent_at=_doubt_after(clock, mine, unmoved),
            doubtful_since=None,
            refused_at=None,
            next_attempt_at=clock.database_time(pause) if pause else None,
            failures=failures,
            renewals=Connection.renewals + int("refreshed_at" in columns),
        )
    )


def saved(lease: Lease) -> Select[Any]:
    """Finds the row that holds what `lease` bought."""
    return select(Connection.id).where(
        Connection.id == lease.connection_id,
        _of_the_same_token(lease),
        Connection.written_fence == lease.fence,
    )


def mark_possibly_spent(clock: Clock, lease: Lease) -> Update:
    """Marks a newer answer to the same token, which may be spent by ours."""
    newer = and_(
        Connection.id == lease.connection_id,
        _of_the_same_token(lease),
        Connection.written_fence > lease.fence,
        Connection.lease_owner.is_(None),
    )
    return update(Connection).where(newer).values(sent_at=clock.database_time())


def _doubt_after(
    clock: Clock, mine: ColumnElement[bool], unmoved: ColumnElement[bool]
) -> ColumnElement[Any]:
    """Whether the token that is saved may be spent: `sent_at` says so to the next caller."""
    alone = and_(mine, unmoved)
    # Somebody else holds the lease by now, and may have sent the token that ours came from: that
    # is for them to tell.
    overtaken = and_(unmoved, Connection.status == Status.ACTIVE)
    return case((alone, null()), (overtaken, Connection.sent_at), else_=clock.database_time())


def _of_the_same_token(lease: Lease) -> ColumnElement[bool]:
    return Connection.parent_generation == lease.generation
