"""The UPDATE that saves a token response: compare-and-swap on the generation that was sent.

A late response is saved too, after the lease has expired or the connection was marked
`reconnect_needed`: it holds the only valid refresh token. It is discarded only if the row belongs
to another grant, or has the response to a newer request with the same token.
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
    """Stores the tokens if the row still has the generation that was sent.

    If the response to another request with the same token is stored, the request with the higher
    fencing token wins. The status does not matter: a success supersedes an earlier refusal. After a
    reconnect `parent_generation` is null, so a response from before it is never stored.
    """
    lease_is_ours = Connection.lease_owner == lease.owner
    same_generation = Connection.generation == lease.generation
    older_response = and_(_of_the_same_token(lease), Connection.written_fence < lease.fence)
    return (
        update(Connection)
        .where(Connection.id == lease.connection_id, or_(same_generation, older_response))
        .values(
            **columns,
            status=Status.ACTIVE,
            reason=None,
            generation=Connection.generation + 1,
            parent_generation=lease.generation,
            written_fence=lease.fence,
            lease_owner=case((lease_is_ours, null()), else_=Connection.lease_owner),
            lease_until=case((lease_is_ours, null()), else_=Connection.lease_until),
            sent_at=_sent_at_after(clock, lease_is_ours, same_generation),
            doubtful_since=None,
            refused_at=None,
            next_attempt_at=clock.database_time(pause) if pause else None,
            failures=failures,
            renewals=Connection.renewals + int("refreshed_at" in columns),
        )
    )


def saved(lease: Lease) -> Select[Any]:
    """Finds the row if it holds the tokens that came for `lease`."""
    return select(Connection.id).where(
        Connection.id == lease.connection_id,
        _of_the_same_token(lease),
        Connection.written_fence == lease.fence,
    )


def mark_possibly_spent(clock: Clock, lease: Lease) -> Update:
    """Marks the tokens of a newer request as possibly spent: ours may have spent them."""
    newer = and_(
        Connection.id == lease.connection_id,
        _of_the_same_token(lease),
        Connection.written_fence > lease.fence,
        Connection.lease_owner.is_(None),
    )
    return update(Connection).where(newer).values(sent_at=clock.database_time())


def _sent_at_after(
    clock: Clock, lease_is_ours: ColumnElement[bool], same_generation: ColumnElement[bool]
) -> ColumnElement[Any]:
    """The new `sent_at`: set if the saved refresh token is possibly spent."""
    undisturbed = and_(lease_is_ours, same_generation)
    # Another caller holds the lease by now and may have sent the parent token: its `sent_at` stays.
    overtaken = and_(same_generation, Connection.status == Status.ACTIVE)
    return case((undisturbed, null()), (overtaken, Connection.sent_at), else_=clock.database_time())


def _of_the_same_token(lease: Lease) -> ColumnElement[bool]:
    return Connection.parent_generation == lease.generation
