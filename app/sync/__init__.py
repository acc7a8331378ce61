"""Keep a copy of Katana's orders, customers, products and stock in step.

REPLACE or extend. A webhook is a hint, the cursor is the truth: a hint makes a resource due and
nothing else; a worker reads what changed since the cursor and stores it in the copy. There is no
queue that could lose something. A lost, doubled, late or forged delivery makes the copy late by
one polling interval at most, and never wrong.

    hints.py      what may have changed: due now
    due.py        when a resource is due
    cursors.py    claim a resource that is due, advance it, put it off
    reading.py    one chunk of one resource, page by page, each page one commit
    passes.py     which page is next, while the list changes
    storing.py    a page's rows and changes; set_aside.py what cannot be read
    accounts.py   whose copy it is: connect, reconnect
    subscriptions.py  the webhook of each connection: made, checked, repaired, deleted
    receiver.py   deliveries: verified, and made a hint
    outbox.py     what is to be sent to Katana once
    budget.py     Katana's rate limit, for all processes together
    feed.py       every change in order, for the partner's own code
    copy.py       the tables of the copy; models.py all others
    resources/    one file for each resource

`connections` knows nothing of this: it announces a connect, and sync subscribes.
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
DELETE_SECONDS = 3.0  # for deleting a webhook while a user disconnects and waits

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sync:
    """The parts, put together for one app."""

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
    #: Katana's API for a few seconds with the stored access token, which is not renewed; None where
    #: that has expired.
    api_without_refresh: Callable[[UUID], KatanaApi | None]


def build(
    settings: Settings,
    engine: Engine,
    session: Session,
    parts: Connections,
    clock: Clock | None = None,
) -> Sync:
    """The parts on this database; `session` is what they ask Katana's API through."""
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
    """Let `current()` find them while `app` is at work, and begin with each connect."""
    app.extensions["sync"] = built
    history.connected.connect(_begin)
    history.disconnecting.connect(_end)


def current() -> Sync:
    """The sync of the current app."""
    built: Sync = current_app.extensions["sync"]
    return built


def hint(connection_id: UUID, resource: str | None = None, ids: Sequence[int] = ()) -> None:
    """Something may have changed at Katana: make the resource, or all of them, due now."""
    current().hints.hint(connection_id, resource, ids)


def update_now(connection_id: UUID) -> bool:
    """Make every resource due; False if all were read or failed a few seconds ago."""
    return current().hints.update_now(connection_id)


def changes(after: int, limit: int = 500) -> Sequence[Change]:
    """Every change of the copy behind a position, in order. Raises feed.PositionTooOld."""
    return current().changes.after(after, limit)


def position() -> int:
    """The last position of the feed: where a reader goes on that reads the whole copy next."""
    return current().changes.last()


def status(connection_id: UUID) -> Mapping[str, Status]:
    """How well the copy of a connection is kept, by resource."""
    return status_of(current().engine, current().clock, connection_id)


def _in_hand(token: str) -> AccessToken:
    """An access token for as long as it is good: it is not renewed."""

    def give(refused: str | None = None) -> str:
        if refused is not None:
            raise ApiUnauthorized("the access token is not good any more")

        return token

    return give


def _begin(event: Event) -> None:
    current().accounts.begin(event.connection_id)


def _end(event: Event) -> None:
    """Delete the webhook at Katana, best effort: its deliveries are refused from now on anyway."""
    webhook_id = current().subscriptions.katana_id(event.connection_id)
    api = current().api_without_refresh(event.connection_id) if webhook_id is not None else None
    if webhook_id is None or api is None:
        return

    try:
        katana_webhooks.delete(api, webhook_id)
    except ConnectError as error:
        logger.warning("connection %s: its webhook stays: %s", event.connection_id, error)
