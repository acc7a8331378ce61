"""Records that cannot be read: stored with the reason, and read again later."""

import logging
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, and_, delete, insert, select, update

from app.connections.backoff import exponential
from app.sync.models import SetAside
from app.sync.resources import Scope

RETRY_SECONDS, LONGEST_SECONDS = 300.0, 24 * 3600.0  # doubles with each try
AT_ONCE = 50

logger = logging.getLogger(__name__)


def due(scope: Scope) -> Sequence[int]:
    """Katana's ids of the records to read again now."""
    is_due = SetAside.retry_at <= scope.clock.database_time()
    due = select(SetAside.record_id).where(_of(scope), is_due).order_by(SetAside.retry_at)
    found = scope.database.scalars(due.limit(AT_ONCE))
    return [int(name) for name in found if name.isdigit()]


def keep(scope: Scope, well: Collection[str], bad: Mapping[str, str]) -> None:
    """Delete the entries of the `well` records; store the `bad` ones with their reasons."""
    tries = select(SetAside.record_id, SetAside.tries).where(_of(scope))
    known = {name: tried for name, tried in scope.database.execute(tries)}
    over = known.keys() & set(well) - bad.keys()
    if over:
        scope.database.execute(delete(SetAside).where(_of(scope), SetAside.record_id.in_(over)))
    for name, reason in bad.items():
        if name not in known:
            said = (scope.connection_id, scope.resource.name, name, reason)
            logger.warning("connection %s: %s %s is set aside: %s", *said)
        _note(scope, name, reason, known.get(name, 0))


def sweep(scope: Scope) -> None:
    """Delete the entries of records that no pass since `scope.mark` has read."""
    scope.database.execute(delete(SetAside).where(_of(scope), SetAside.mark < scope.mark))


def _note(scope: Scope, name: str, reason: str, tries: int) -> None:
    pause = exponential(tries, RETRY_SECONDS, LONGEST_SECONDS)
    retry_at = scope.clock.database_time(pause)
    values = {"reason": reason, "tries": tries + 1, "retry_at": retry_at, "mark": scope.mark}
    if tries:
        this_one = and_(_of(scope), SetAside.record_id == name)
        scope.database.execute(update(SetAside).where(this_one).values(values))
        return

    key = {"connection_id": scope.connection_id, "resource": scope.resource.name}
    new = insert(SetAside).values(**key, **values, record_id=name)
    scope.database.execute(new.values(first_at=scope.clock.database_time()))


def _of(scope: Scope) -> ColumnElement[bool]:
    its = SetAside.connection_id == scope.connection_id
    return and_(its, SetAside.resource == scope.resource.name)
