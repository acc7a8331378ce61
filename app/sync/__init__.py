"""Keep a copy of Katana's orders, customers, products and stock up to date.

KEEP, extend or remove. A delivery of a webhook only makes a resource due. A worker then reads the
changes since the cursor and stores them in the copy. No data comes from a delivery, so one that is
lost, repeated, late or forged cannot make the copy wrong. If one is lost, polling finds the change.

    hints.py      make a resource due now
    due.py        when a resource is due
    cursors.py    claim a cursor that is due, advance it, postpone it
    reading.py    read one chunk of one resource; each page is one commit
    passes.py     which page to read next while the list changes
    storing.py    store a page; set_aside.py: records that cannot be read
    accounts.py   which Katana account is copied: connect, reconnect
    subscriptions.py  create, check and repair the webhook of each connection
    receiver.py   verify deliveries and make resources due
    outbox.py     send an order to Katana once
    budget.py     Katana's rate limit, shared by all processes
    feed.py       every change in order, for your own code
    copy.py       the tables of the copy; models.py: most other tables
    resources/    one file for each resource

`connections` does not import sync. It sends signals on connect and disconnect, and sync subscribes.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from urllib.parse import urljoin
from uuid import UUID

from flask import Flask, current_app
from requests import Session
from sqlalchemy import Engine

from app.connections import Connections, history
from app.connections.history import Event
from app.database.clock import Clock, SystemClock, monotonic
from app.errors import ApiUnauthorized, ConnectError
from app.katana import webhooks as katana_webhooks
from app.katana.bulkheads import UNLIMITED, Bulkhead
from app.katana.client import AccessToken, KatanaApi
from app.settings.config import Settings
from app.sync.accounts import Accounts
from app.sync.budget import Budget
from app.sync.copy import Status
from app.sync.copy import status as status_of
from app.sync.cursors import Cursors
from app.sync.feed import Change, Changes
from app.sync.hints import Hints
from app.sync.outbox import Outgoing
from app.sync.reading import Reading
from app.sync.receiver import Receiver
from app.sync.resources import Resource, all_resources
from app.sync.subscriptions import Subscriptions

DELIVERY_PATH = "/katana/webhooks/"  # a random key follows
DELETE_SECONDS = 3.0  # to delete a webhook: a user who disconnects waits for it

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sync:
    """All parts of sync, for one app."""

    engine: Engine
    clock: Clock
    resources: Mapping[str, Resource]
    budget: Budget
    cursors: Cursors
    hints: Hints
    accounts: Accounts
    changes: Changes
    reading: Reading
    subscriptions: Subscriptions
    receiver: Receiver
    outgoing: Outgoing
    #: A KatanaApi for a few seconds with the stored access token, without a refresh; None if the
    #: token has expired.
    api_without_refresh: Callable[[UUID], KatanaApi | None]


def build(
    settings: Settings,
    engine: Engine,
    session: Session,
    parts: Connections,
    clock: Clock | None = None,
) -> Sync:
    """Build the parts for this database; `session` sends the requests to Katana's API."""
    clock, resources = clock or SystemClock(), all_resources()
    budget, cursors, hints = Budget(engine, clock), Cursors(engine, clock), Hints(engine, clock)
    accounts = Accounts(engine, clock, resources)

    def api(
        connection_id: UUID,
        seconds: float = inf,
        *,
        leave_reserve: bool = False,
        token: AccessToken | None = None,
        bulkhead: Bulkhead = UNLIMITED.api,
    ) -> KatanaApi:
        token = token or partial(parts.refresh.fresh_access_token, connection_id)
        meter = budget.meter(connection_id, leave_reserve=leave_reserve)
        until = monotonic() + seconds
        return KatanaApi(settings.katana.api_base_url, session, token, until, meter, bulkhead)

    def api_without_refresh(connection_id: UUID) -> KatanaApi | None:
        token = parts.refresh.stored_access_token(connection_id)
        if token is None:
            return None

        bulkhead = parts.bulkheads.api
        return api(connection_id, DELETE_SECONDS, token=_in_hand(token), bulkhead=bulkhead)

    work_api = partial(api, leave_reserve=True)
    reading = Reading(
        *(engine, clock, cursors, hints, accounts, resources, work_api, parts.lifecycle)
    )
    base_url = urljoin(settings.katana.redirect_uri, DELIVERY_PATH)
    named = frozenset(event for resource in resources.values() for event in resource.events)
    subscriptions = Subscriptions(engine, clock, parts.vault, work_api, base_url, named)
    receiver = Receiver(engine, parts.vault, hints, resources)
    return Sync(
        *(engine, clock, resources, budget, cursors, hints, accounts, Changes(engine, clock)),
        *(reading, subscriptions, receiver, Outgoing(engine, clock, api), api_without_refresh),
    )


def init_app(app: Flask, built: Sync) -> None:
    """Register sync with `app`, and subscribe to connects and disconnects."""
    app.extensions["sync"] = built
    history.connected.connect(_begin)
    history.disconnecting.connect(_end)


def current() -> Sync:
    """The sync of the current app."""
    built: Sync = current_app.extensions["sync"]
    return built


def hint(connection_id: UUID, resource: str | None = None, ids: Sequence[int] = ()) -> None:
    """Make a resource due now, or all of them if `resource` is None."""
    current().hints.hint(connection_id, resource, ids)


def update_now(connection_id: UUID) -> bool:
    """Make every resource due; False if all were read or failed a few seconds ago."""
    return current().hints.update_now(connection_id)


def changes(after: int, limit: int = 500) -> Sequence[Change]:
    """The changes of the copy after a position, in order. Raises feed.PositionTooOld."""
    return current().changes.after(after, limit)


def position() -> int:
    """The last position of the feed. A new reader stores it, then reads the whole copy."""
    return current().changes.last()


def status(connection_id: UUID) -> Mapping[str, Status]:
    """How up to date the copy of a connection is, by resource."""
    return status_of(current().engine, current().clock, connection_id)


def _in_hand(token: str) -> AccessToken:
    """Supply this access token until Katana refuses it; it is not refreshed."""

    def give(refused: str | None = None) -> str:
        if refused is not None:
            raise ApiUnauthorized("the access token is not good any more")

        return token

    return give


def _begin(event: Event) -> None:
    current().accounts.begin(event.connection_id)


def _end(event: Event) -> None:
    """Try to delete the webhook at Katana. If that fails, its deliveries are refused."""
    webhook_id = current().subscriptions.katana_id(event.connection_id)
    api = current().api_without_refresh(event.connection_id) if webhook_id is not None else None
    if webhook_id is None or api is None:
        return

    try:
        katana_webhooks.delete(api, webhook_id)
    except ConnectError as error:
        logger.warning("connection %s: its webhook stays: %s", event.connection_id, error)
