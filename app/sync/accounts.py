"""Which Katana account is copied: after a connect or reconnect, its data is read anew.

`copy.shown()` hides the rows of an earlier Katana account as soon as the reconnect is committed.
The code here starts to read the current account. Rows that its first whole pass does not read are
deleted after that pass. If the name of the account has changed, all rows are deleted at once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, delete, select, tuple_, update
from sqlalchemy import Connection as Database

from app.connections.models import Connection, Status
from app.database.clock import Clock
from app.database.db import Model
from app.database.engine import insert_into, single_statements
from app.database.leased_rows import NO_LEASE, Range, ranges
from app.sync.cursors import Claimed, is_of, keep
from app.sync.due import cursor_ranges
from app.sync.models import SetAside, SyncAccount, SyncCursor, SyncHint, Webhook, WebhookState
from app.sync.passes import MOST
from app.sync.resources import Resource, Scope
from app.sync.storing import sweep

LATELY_SECONDS = 3600.0
IN_TURN = 1000  # connections that one call of `unknown` checks, besides recent ones
PUT_OFF_SECONDS = 3600.0  # less than DUE_AHEAD_SECONDS
PUT_OFF_AT_ONCE = 1000


class Accounts:
    """The table of accounts."""

    def __init__(self, engine: Engine, clock: Clock, resources: Mapping[str, Resource]) -> None:
        self._engine = engine
        self._clock = clock
        self._resources = resources
        #: The last connection that `unknown` has checked; None: start again from the first.
        self._looked_at: UUID | None = None

    def begin(self, connection_id: UUID) -> None:
        """Make all resources and the webhook due, after a connect or a reconnect."""
        with self._engine.begin() as database:
            keep(database, connection_id)
            self._add(database, connection_id)
            now = self._clock.database_time()
            cursors = update(SyncCursor).where(is_of(connection_id))
            database.execute(cursors.values(due_at=now, next_attempt_at=None))
            webhook = update(Webhook).where(Webhook.connection_id == connection_id)
            database.execute(webhook.values(due_at=now, failures=0))

    def unknown(self, limit: int) -> list[UUID]:
        """Active connections without an account row: older than sync, or `begin` was interrupted.

        Those of the last hour are found at once. Of the others each call checks a part, because no
        index can find rows that another table lacks.
        """
        begun = select(SyncAccount.connection_id).where(SyncAccount.connection_id == Connection.id)
        with single_statements(self._engine).connect() as database:
            # A value, so that PostgreSQL can estimate how few rows these are.
            an_hour_ago = database.scalar(select(self._clock.database_time(-LATELY_SECONDS)))
            lately = select(Connection.id).where(
                Connection.status == Status.ACTIVE,
                Connection.connected_at > an_hour_ago,
                ~begun.exists(),
            )
            found = dict.fromkeys(database.scalars(lately.limit(limit)))
            some = self._some_in_turn(database)
            missing = self._not_begun(database, some) if some else []
        if len(missing) <= limit:  # else the same part is checked again
            self._looked_at = some[-1] if len(some) == IN_TURN else None
        return list(found | dict.fromkeys(missing))[:limit]

    def put_off_ended(self) -> bool:
        """Postpone the due work of ended connections by an hour; True if there may be more.

        If it stayed due, each search for due work would read it and skip it. A reconnect makes it
        due at once.
        """
        ready, _, paused, _ = cursor_ranges(self._clock)
        webhooks, _ = ranges(Webhook.due_at, self._clock, 2 * PUT_OFF_SECONDS)
        numbers = [
            self._put_off(SyncCursor, ready),
            self._put_off(SyncCursor, paused, next_attempt_at=None),
            self._put_off(Webhook, webhooks),
        ]
        return max(numbers) == PUT_OFF_AT_ONCE

    def adopt(self, held: Claimed, name: str | None, stopped: Callable[[], bool]) -> None:
        """Switch the copy to the account that is connected now; `name` is its name."""
        known = held.account.factory_name
        if held.account.connected_by and (name is None or name != known):
            for resource in self._resources.values():
                while self._delete_some(held, resource):
                    if stopped():
                        return  # the next worker continues
        with self._engine.begin() as database:
            keep(database, held.connection_id)
            now = {"connected_by": held.connected_by, "factory_name": name}
            before = SyncAccount.connected_by.is_not_distinct_from(held.account.connected_by)
            adopted = update(SyncAccount).where(_is(held), before).values(now)
            if database.execute(adopted).rowcount:
                for table in (SetAside, SyncHint):
                    database.execute(delete(table).where(table.connection_id == held.connection_id))
                anew = update(SyncCursor).where(is_of(held.connection_id))
                database.execute(anew.values(**_ANEW, due_at=self._clock.database_time()))

    def remember_name(self, held: Claimed) -> None:
        """Store the account's name, which is compared after a reconnect."""
        same = _is(held), SyncAccount.connected_by == held.connected_by
        named = update(SyncAccount).where(*same).values(factory_name=held.factory_name)
        with single_statements(self._engine).connect() as database:
            database.execute(named)

    def _some_in_turn(self, database: Database) -> Sequence[UUID]:
        # Only the id, so that an index is enough and no rows of the table are read.
        following = select(Connection.id).order_by(Connection.id).limit(IN_TURN)
        if self._looked_at:
            following = following.where(Connection.id > self._looked_at)
        return database.scalars(following).all()

    def _not_begun(self, database: Database, some: Sequence[UUID]) -> Sequence[UUID]:
        """The active connections among `some`, which is sorted, that have no account row."""
        between = SyncAccount.connection_id.between(some[0], some[-1])
        begun = database.scalars(select(SyncAccount.connection_id).where(between))
        missing = sorted(set(some).difference(begun))
        if not missing:
            return []

        active = (Connection.status == Status.ACTIVE) & Connection.id.in_(missing)
        return database.scalars(select(Connection.id).where(active)).all()

    def _put_off(self, table: type[SyncCursor] | type[Webhook], of: Range, **also: Any) -> int:
        key = table.__table__.primary_key
        # Locked, so that a connection that is being reconnected is skipped.
        ended = (
            select(*key)
            .join(Connection, Connection.id == table.connection_id)
            .where(Connection.status == Status.RECONNECT_NEEDED, of.rows)
            .order_by(of.column)
            .limit(PUT_OFF_AT_ONCE)
            .with_for_update(key_share=True, skip_locked=True)
            .cte()
        )
        these = update(table).where(tuple_(*key).in_(select(ended)))
        later = these.values(due_at=self._clock.database_time(PUT_OFF_SECONDS), **also)
        with self._engine.begin() as database:
            return database.execute(later).rowcount

    def _add(self, database: Database, connection_id: UUID) -> None:
        whose = {"connection_id": connection_id}
        due = whose | {"due_at": self._clock.database_time()}
        rows: list[tuple[type[Model], dict[str, Any]]] = [
            (SyncAccount, whose),
            (Webhook, due | {"state": WebhookState.MISSING}),
            *((SyncCursor, due | {"resource": name}) for name in self._resources),
        ]
        for table, columns in rows:
            new = insert_into(database, table).values(columns)
            database.execute(new.on_conflict_do_nothing())

    def _delete_some(self, held: Claimed, resource: Resource) -> bool:
        """Delete a batch of rows; True if there may be more."""
        with self._engine.begin() as database:
            keep(database, held.connection_id)
            whose = held.connection_id, resource
            return sweep(Scope(database, self._clock, *whose, mark=MOST, shown_from=0))


_UNREAD = ("position", "read_at", "whole_at", "first_pass_at", "page", "failure", "failed_at")
_ANEW: dict[str, Any] = {
    # A worker that reads the earlier account loses its lease, and stores nothing.
    **NO_LEASE,
    **dict.fromkeys(_UNREAD),
    **dict.fromkeys(("seen", "total", "failures"), 0),
    "shown_from": SyncCursor.mark + 1,
    "next_attempt_at": None,
}


def _is(held: Claimed) -> ColumnElement[bool]:
    return SyncAccount.connection_id == held.connection_id
