"""Read one resource of one connection, page by page.

Each page is stored with its cursor in one commit. So after an error or a kill, the cursor is at the
last page that was stored.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection as Database
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from app.connections.lifecycle import Lifecycle
from app.database.clock import Clock
from app.database.engine import single_reads
from app.database.leased_rows import LeaseLost
from app.errors import (
    ApiBusy,
    ApiError,
    ConnectError,
    FreshTokenRefused,
    NotConnected,
    ReconnectNeeded,
    TryAgainLater,
)
from app.katana.client import KatanaApi, Page
from app.sync import set_aside
from app.sync.accounts import Accounts
from app.sync.cursors import Claimed, Cursors
from app.sync.due import POLL_SECONDS, SECONDS_PER_PAGE
from app.sync.hints import Hints
from app.sync.passes import Pass
from app.sync.resources import Resource, Scope
from app.sync.storing import store, sweep

PAGES_AT_ONCE = 4  # the most pages of one list in a chunk, before other cursors get their turn
SECONDS_AT_ONCE = 5.0  # no page of the chunk begins after this time

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """Reads the resources that are due."""

    engine: Engine
    clock: Clock
    cursors: Cursors
    hints: Hints
    accounts: Accounts
    resources: Mapping[str, Resource]
    api: Callable[[UUID], KatanaApi]
    lifecycle: Lifecycle

    def work(self, connection_id: UUID, name: str, stopped: Callable[[], bool]) -> bool:
        """Read one chunk; False if the cursor could not be claimed.

        Once `stopped()` is true, the current page is stored and no other one is read.
        """
        resource = self.resources.get(name)  # None: a row of a resource that a fork has removed
        held = self.cursors.claim(connection_id, name) if resource else None
        if resource is None or held is None:
            return False

        try:
            self._read(held, resource, stopped)
        except (LeaseLost, NotConnected):
            logger.info("connection %s: %s is not ours to read any more", connection_id, name)
        except ReconnectNeeded:
            self.cursors.release(held)  # no cursor of it is claimed until the user has reconnected
        except FreshTokenRefused:
            self.cursors.failed(held, "unauthorized")  # a new token would not help
        except (ApiBusy, TryAgainLater) as error:
            self.cursors.put_off(held, error.retry_after)
        except ConnectError as error:
            logger.warning("connection %s: %s not read: %s", connection_id, name, error)
            self.cursors.failed(held, _word(error))
        except OperationalError as error:  # the database is down or refuses: no traceback is needed
            kind = type(error).__name__
            logger.warning("connection %s: %s not read: database (%s)", connection_id, name, kind)
            self.cursors.failed(held, "failed")
        except Exception:  # one connection's error must not stop the worker
            logger.exception("connection %s: %s not read", connection_id, name)
            self.cursors.failed(held, "failed")
        return True

    def _read(self, held: Claimed, resource: Resource, stopped: Callable[[], bool]) -> None:
        api = self.api(held.connection_id)
        if held.account.connected_by != held.connected_by:
            self.accounts.adopt(held, self._factory_name(held, api), stopped)
            self.cursors.release(held)
            return

        if held.factory_name != held.account.factory_name:
            self.accounts.remember_name(held)
        if self._read_named(held, resource, api):
            return

        until = self.clock.monotonic() + SECONDS_AT_ONCE
        now = Pass.of(held.cursor, held.at, dated=resource.dated)
        if held.factory_name is None and resource.dated and now.is_whole and now.is_new:
            with suppress(ApiError):  # the callback did not get the name: try once a day
                self._factory_name(held, api)
        for left in reversed(range(PAGES_AT_ONCE)):
            page = api.page(resource.path, **resource.query, **now.query())
            is_last = not left or stopped() or self.clock.monotonic() > until
            now = self._store(held, resource, now, page, is_last=is_last)
            if now.is_over or is_last:
                return

    def _store(
        self, held: Claimed, resource: Resource, before: Pass, page: Page, *, is_last: bool
    ) -> Pass:
        """Store `page`, and return the pass after it. Raises LeaseLost."""
        read = resource.parse(page.records, page.at)
        now = before.after(page, read.highest, dated=resource.dated)
        values = (
            self.cursors.finished(held, now, dated=resource.dated)
            if now.is_over
            else self.cursors.under_way(now, is_last=is_last)
        )
        with self.engine.begin() as database:
            self.cursors.hold(database, held)
            scope = self._scope(database, held, resource, now.mark)
            store(scope, read)
            swept = now.swept_below(dated=resource.dated)
            if swept > held.cursor.swept and not sweep(replace(scope, mark=swept)):
                values |= {"swept": swept}
            self.cursors.set(database, held, values)
        return now

    def _read_named(self, held: Claimed, resource: Resource, api: KatanaApi) -> bool:
        """Read records that hints name or that were set aside; True if nothing else is due."""
        with single_reads(self.engine).connect() as database:
            hinted = self.hints.named(database, held) if not resource.dated else ()
            scope = self._scope(database, held, resource, held.cursor.mark)
            ids = sorted({*hinted, *set_aside.due(scope)})
        if not ids:
            return False

        page = api.page(resource.path, **resource.query, **{resource.by_id: ids})
        with self.engine.begin() as database:
            self.cursors.hold(database, held)
            self.hints.forget(database, held, hinted)
            scope = self._scope(database, held, resource, held.cursor.mark)
            store(scope, resource.parse(page.records, page.at), asked=ids)
        whole_at = held.cursor.whole_at
        if not hinted or held.cursor.page is not None or whole_at is None:
            return False

        seconds = max(POLL_SECONDS, held.cursor.pages * SECONDS_PER_PAGE)
        whole_is_due_at = whole_at + timedelta(seconds=seconds)
        if held.at >= whole_is_due_at:
            return False

        self.cursors.release(held, until=whole_is_due_at)
        return True

    def _scope(self, database: Database, held: Claimed, resource: Resource, mark: int) -> Scope:
        whose = held.connection_id, resource, mark, held.cursor.shown_from
        return Scope(database, self.clock, *whose)

    def _factory_name(self, held: Claimed, api: KatanaApi) -> str | None:
        """The name of the account. An error is raised only if an earlier account was copied."""
        if held.factory_name:
            return held.factory_name

        try:
            name = api.factory().name
        except ApiError:
            if held.account.connected_by:
                raise
            return None
        if name:
            self.lifecycle.name_factory(held.connection_id, held.connected_by, name)
        return name or None


def _word(error: ConnectError) -> str:
    """The error as a cursor stores it: `ApiForbidden` gives `forbidden`."""
    name = type(error).__name__.removeprefix("Api")
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
