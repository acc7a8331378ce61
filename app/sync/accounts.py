"""Whose data the copy is: it begins with a connect, and begins anew with a reconnect.

`copy.shown()` hides the rows of an earlier Katana account in the moment in which the reconnect is
committed. What is done here is to read the account anew: rows that the first whole pass does not
meet are deleted after it. Where the account has another name they are deleted at once.
"""

from collections.abc import Callable, Mapping
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, delete, select, update
from sqlalchemy import Connection as Database
from sqlalchemy.dialects import postgresql, sqlite

from app.connections.models import Connection, Status
from app.database.clock import Clock
from app.database.engine import single_statements
from app.sync.cursors import Claimed, is_of, keep
from app.sync.models import SetAside, SyncAccount, SyncCursor, SyncHint
from app.sync.resources import Owner, Resource
from app.sync.storing import Storing
from app.sync.webhook import Webhook, WebhookState


class Accounts:
    """The table of accounts."""

    def __init__(
        self, engine: Engine, clock: Clock, storing: Storing, resources: Mapping[str, Resource]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._storing = storing
        self._resources = resources

    def begin(self, connection_id: UUID) -> None:
        """Make everything of a connection due: it is new, or was made again."""
        with self._engine.begin() as database:
            keep(database, connection_id)
            self._add(database, connection_id)
            due = {"due_at": self._clock.database_time(), "next_attempt_at": None}
            database.execute(update(SyncCursor).where(is_of(connection_id)).values(due))
            anew = {"due_at": self._clock.database_time(), "failures": 0}
            its = update(Webhook).where(Webhook.connection_id == connection_id)
            database.execute(its.values(anew))

    def unknown(self, limit: int) -> list[UUID]:
        """Active connections that have not begun: made before this, or whose begin was lost."""
        begun = select(SyncAccount.connection_id).where(SyncAccount.connection_id == Connection.id)
        found = select(Connection.id).where(Connection.status == Status.ACTIVE, ~begun.exists())
        with single_statements(self._engine).connect() as database:
            return list(database.scalars(found.limit(limit)))

    def adopt(self, held: Claimed, name: str | None, stopped: Callable[[], bool]) -> None:
        """Let the copy be of the account that is connected now, and is called `name`."""
        known = held.account.factory_name
        if held.account.connected_by and (name is None or name != known):
            for resource in self._resources.values():
                while self._delete_some(held, resource):
                    if stopped():
                        return  # the next one goes on
        with self._engine.begin() as database:
            keep(database, held.connection_id)
            now = {"connected_by": held.connected_by, "factory_name": name}
            before = SyncAccount.connected_by.is_not_distinct_from(held.account.connected_by)
            adopted = update(SyncAccount).where(_is(held.connection_id), before).values(now)
            if database.execute(adopted).rowcount:
                for table in (SetAside, SyncHint):
                    database.execute(delete(table).where(table.connection_id == held.connection_id))
                anew = update(SyncCursor).where(is_of(held.connection_id))
                database.execute(anew.values(**_ANEW, due_at=self._clock.database_time()))

    def remember_name(self, held: Claimed) -> None:
        """Keep what the account is called, to be compared after a reconnect."""
        named = update(SyncAccount).where(_is(held.connection_id))
        same = named.where(SyncAccount.connected_by == held.connected_by)
        with single_statements(self._engine).connect() as database:
            database.execute(same.values(factory_name=held.factory_name))

    def _add(self, database: Database, connection_id: UUID) -> None:
        insert = (sqlite if database.dialect.name == "sqlite" else postgresql).insert
        account = insert(SyncAccount).values(connection_id=connection_id)
        database.execute(account.on_conflict_do_nothing())
        webhook = insert(Webhook).values(
            connection_id=connection_id,
            state=WebhookState.MISSING,
            failures=0,
            due_at=self._clock.database_time(),
        )
        database.execute(webhook.on_conflict_do_nothing())
        for name in self._resources:
            cursor = insert(SyncCursor).values(
                connection_id=connection_id, resource=name, due_at=self._clock.database_time()
            )
            database.execute(cursor.on_conflict_do_nothing())

    def _delete_some(self, held: Claimed, resource: Resource) -> bool:
        """Whether there may be more."""
        everything = Owner(held.connection_id, resource.name, mark=2**31 - 1, shown_from=0)
        with self._engine.begin() as database:
            keep(database, held.connection_id)
            return self._storing.sweep(database, everything, resource)


#: Whoever reads the earlier account right now has lost the lease, and stores nothing.
_ANEW = {
    "lease_owner": None,
    "lease_until": None,
    "position": None,
    "read_at": None,
    "whole_at": None,
    "first_pass_at": None,
    "shown_from": SyncCursor.mark + 1,
    "page": None,
    "seen": 0,
    "total": 0,
    "failures": 0,
    "failure": None,
    "failed_at": None,
    "next_attempt_at": None,
}


def _is(connection_id: UUID) -> ColumnElement[bool]:
    return SyncAccount.connection_id == connection_id
