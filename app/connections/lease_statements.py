"""The SQL statements of `leases.py`. The methods of `Leases` document their effects."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    Float,
    Integer,
    LargeBinary,
    Select,
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
from sqlalchemy.orm import InstrumentedAttribute

from app.connections import history
from app.connections.backoff import LONGEST_PAUSE_SECONDS
from app.connections.models import Connection, ConnectionEvent, EventKind, Status
from app.database.clock import PAST_AHEAD_SECONDS, Clock, is_over

LONGEST_LEASE_SECONDS = 60  # after a crash of its holder, others wait this long at most
#: A lease that ends further in the future than this is ignored: the database's clock was wrong.
#: Twice the longest lease, because setting the clock back by a second must not end a valid lease.
LEASE_AHEAD_SECONDS = 2 * LONGEST_LEASE_SECONDS


class LeaseStatements:
    """All statements, built once, because building one takes longer than running it.

    Common parameters: `this_id`, `this_owner`, `this_generation` and `this_fence` of a lease.
    """

    def __init__(self, clock: Clock, lease_seconds: float) -> None:
        self.read = select(*snapshot_columns(clock)).where(_THIS_ONE)
        self.claim = _claim(clock, lease_seconds)
        self.save = _save(clock)
        self.is_saved = _is_saved()
        self.knows = _knows()
        self.mark_possibly_spent = _mark_possibly_spent(clock)
        self.release_after_failure = _release_after_failure(clock)
        self.release_unused = _release_unused()
        self.mark_reconnect_needed = _mark_reconnect_needed(clock)
        self.connected = select(Connection.id).where(Connection.user_id == bindparam("this_user"))
        self.record, self.trim_history = history.entry(clock), history.trim()


def snapshot_columns(clock: Clock) -> tuple[Any, ...]:
    """The columns of a Snapshot, in the order of its fields."""
    return (
        Connection.id,
        Connection.user_id,
        Connection.status,
        Connection.reason,
        Connection.generation,
        Connection.sealed_access_token,
        Connection.expires_at,
        Connection.renew_at,
        Connection.lease_until,
        Connection.sent_at,
        Connection.next_attempt_at,
        *_refreshed_columns(clock),
    )


def _refreshed_columns(clock: Clock) -> tuple[Any, ...]:
    return Connection.refreshed_at, Connection.failing_since, clock.database_time()


_OWNER: BindParameter[str] = bindparam("this_owner", type_=String)
_GENERATION: BindParameter[int] = bindparam("this_generation", type_=Integer)
_FENCE: BindParameter[int] = bindparam("this_fence", type_=Integer)
_NO_LEASE: Mapping[str, Any] = {"lease_owner": None, "lease_until": None}
_THIS_ONE = Connection.id == bindparam("this_id")
_IS_OURS = Connection.lease_owner == _OWNER
_HELD = and_(_THIS_ONE, _IS_OURS)
_SAME_GENERATION = Connection.generation == _GENERATION
_SAME_PARENT = Connection.parent_generation == _GENERATION


def _claim(clock: Clock, seconds: float) -> Update:
    earlier = func.coalesce(Connection.doubtful_since, Connection.sent_at)
    claim = update(Connection).where(
        _THIS_ONE,
        _SAME_GENERATION,
        Connection.status == Status.ACTIVE,
        or_(_IS_OURS, is_over(Connection.lease_until, clock, LEASE_AHEAD_SECONDS)),
        is_over(Connection.next_attempt_at, clock, LONGEST_PAUSE_SECONDS),
    )
    return claim.values(
        lease_owner=_OWNER,
        lease_until=clock.database_time(seconds),
        fence=Connection.fence + 1,
        doubtful_since=case((_IS_OURS, Connection.doubtful_since), else_=earlier),
        sent_at=clock.database_time(),
    ).returning(
        Connection.fence,
        Connection.sealed_refresh_token,
        Connection.refused_at,
        Connection.doubtful_since,
        Connection.failures,
        *_refreshed_columns(clock),
    )


def _save(clock: Clock) -> Update:
    older_response = and_(_SAME_PARENT, Connection.written_fence < _FENCE)
    has_access = bindparam("has_access", type_=Boolean)
    pause = bindparam("pause", type_=Float)

    def renewed(new: Any, column: InstrumentedAttribute[Any]) -> ColumnElement[Any]:
        return case((has_access, new), else_=column)

    def moment(parameter: str) -> ColumnElement[Any]:
        return clock.database_time(bindparam(parameter, type_=Float))

    access = bindparam("new_access_token", type_=LargeBinary)
    refresh = bindparam("new_refresh_token", type_=LargeBinary)
    scope = bindparam("new_scope", type_=String)
    return (
        update(Connection)
        .where(_THIS_ONE, or_(_SAME_GENERATION, older_response))
        .values(
            sealed_refresh_token=func.coalesce(refresh, Connection.sealed_refresh_token),
            sealed_access_token=renewed(access, Connection.sealed_access_token),
            scope=renewed(scope, Connection.scope),
            expires_at=renewed(moment("usable_for"), Connection.expires_at),
            renew_at=renewed(moment("renew_in"), Connection.renew_at),
            refreshed_at=renewed(clock.database_time(), Connection.refreshed_at),
            renewals=Connection.renewals + case((has_access, 1), else_=0),
            status=Status.ACTIVE,
            reason=None,
            generation=Connection.generation + 1,
            parent_generation=_GENERATION,
            written_fence=_FENCE,
            lease_owner=case((_IS_OURS, null()), else_=Connection.lease_owner),
            lease_until=case((_IS_OURS, null()), else_=Connection.lease_until),
            sent_at=_sent_at_after_save(clock),
            doubtful_since=None,
            refused_at=None,
            next_attempt_at=case((pause > 0, clock.database_time(pause)), else_=null()),
            failures=bindparam("failed_times"),
        )
    )


def _sent_at_after_save(clock: Clock) -> ColumnElement[Any]:
    """Null if the saved refresh token is certainly unspent."""
    still_held = and_(_IS_OURS, _SAME_GENERATION)
    # Another caller has taken over and may have sent the same token: its `sent_at` stays.
    overtaken = and_(_SAME_GENERATION, Connection.status == Status.ACTIVE)
    return case((still_held, null()), (overtaken, Connection.sent_at), else_=clock.database_time())


def _is_saved() -> Select[Any]:
    return select(Connection.id).where(_THIS_ONE, _SAME_PARENT, Connection.written_fence == _FENCE)


def _knows() -> Select[Any]:
    was_disconnected = exists().where(
        ConnectionEvent.connection_id == bindparam("this_id"),
        ConnectionEvent.kind == EventKind.DISCONNECTED,
    )
    return select(or_(exists().where(_THIS_ONE), was_disconnected))


def _mark_possibly_spent(clock: Clock) -> Update:
    newer = (Connection.written_fence > _FENCE, Connection.lease_owner.is_(None))
    marking = update(Connection).where(_THIS_ONE, _SAME_PARENT, *newer)
    return marking.values(sent_at=clock.database_time())


def _release_after_failure(clock: Clock) -> Update:
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
        .where(_HELD, or_(~refused, _SAME_GENERATION))
        .values(
            **_NO_LEASE,
            sent_at=case((in_doubt, Connection.sent_at), else_=null()),
            refused_at=case((refused, now), else_=Connection.refused_at),
            failures=Connection.failures + 1,
            failing_since=case((failing, Connection.failing_since), else_=now),
            next_attempt_at=clock.database_time(bindparam("pause", type_=Float)),
        )
    )


def _release_unused() -> Update:
    unsent: ColumnElement[Any] = case(
        (Connection.doubtful_since.is_(None), null()), else_=Connection.sent_at
    )
    return update(Connection).where(_HELD).values(**_NO_LEASE, sent_at=unsent)


def _mark_reconnect_needed(clock: Clock) -> Update:
    refusal = case((Connection.failures > 0, clock.database_time()))
    return (
        update(Connection)
        .where(_HELD, _SAME_GENERATION)
        .values(
            status=Status.RECONNECT_NEEDED,
            reason=bindparam("why"),
            refused_at=func.coalesce(refusal, Connection.refused_at),
            **_NO_LEASE,
            sent_at=None,
            next_attempt_at=None,
        )
    )
