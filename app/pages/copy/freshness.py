"""How old the copy is, and why it is not newer, in a factory owner's words."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from app import sync
from app.connections.models import Connection
from app.connections.models import Status as ConnectionStatus
from app.database.clock import seconds_until
from app.database.db import db
from app.pages.display import as_of, span
from app.sync.copy import Status
from app.sync.cursors import LEASE_SECONDS
from app.sync.due import PAUSE_AHEAD_SECONDS
from app.sync.models import Detail, Webhook, WebhookState

#: The name of each resource on a page. A fork's own resource has its own name.
NAMES = {"sales_orders": "orders", "inventory": "stock"}
LATE_SECONDS = 90.0  # longer than a lease: by then another worker has taken over from a dead one

IN_THE_LOG = "The people who run this app can see why in its log."
#: By `SyncCursor.failure`.
FAILURES = {
    "forbidden": (
        "Katana does not let this app read your {what} (error 403). Connected apps need Katana's "
        "Professional plan or a higher one, and the Katana user who connected must be allowed to "
        "see {what}. Change that in Katana, or connect with another Katana user."
    ),
    "unauthorized": (
        "Katana does not accept this app's access (error 401), although it was only just renewed. "
        "If this goes on, disconnect and connect again."
    ),
    "unavailable": "Katana does not answer.",
    "refused": f"Katana did not understand what this app asked for. {IN_THE_LOG}",
    "seal_broken": f"This app cannot open its keys to your Katana. {IN_THE_LOG}",
}
OURS = f"Something went wrong in this app. {IN_THE_LOG}"
ENDED = "Katana has ended this app's access, so nothing new is read until you reconnect."
LOGIN = "This app's access could not be renewed: Katana's login does not answer as it should."
BUSY = "Katana takes only so many requests a minute from this app."
STOPPED = (
    "The part of this app that reads from Katana is not running, or has too much to do. "
    "The people who run this app can tell."
)

TOLD = "Katana tells this app of changes as they happen."
ASKS = "This app asks Katana every minute."
#: Why Katana sends no webhooks, by `Webhook.detail`. The app loses no data by it.
UNTOLD: Mapping[str, str] = {
    Detail.FORBIDDEN: (
        "Katana does not tell this app of changes: the Katana user who connected may not manage "
        "webhooks."
    ),
    Detail.NOT_HTTPS: "Katana does not tell this app of changes: its address is not https.",
    Detail.REFUSED: f"Katana does not tell this app of changes. {IN_THE_LOG}",
}


@dataclass(frozen=True)
class Freshness:
    """The state of one resource of the copy, for a page."""

    name: str
    what: str
    #: None until the whole list was read once.
    as_of: datetime | None
    #: The same in words: `2 minutes ago`.
    age: str
    #: Records that were read in the current pass.
    seen: int
    total: int
    #: Why it is not newer; empty if there is no problem.
    why: str
    #: Records that cannot be read.
    set_aside: int


@dataclass(frozen=True)
class State:
    """The state of the copy of one connection."""

    #: Changes when a page would show something else.
    version: str
    #: By resource; empty until a worker has begun to read the account that is connected now.
    resources: Mapping[str, Freshness]
    #: How this app learns of changes.
    hears: str

    @property
    def has_begun(self) -> bool:
        """Whether there is a copy of this account, complete or not."""
        return bool(self.resources)

    def of(self, *names: str) -> Sequence[Freshness]:
        """These resources, if they are in the copy."""
        return [self.resources[name] for name in names if name in self.resources]

    def is_complete(self, name: str) -> bool:
        """Whether the whole list was read once: then a missing record is not in Katana either."""
        return any(found.as_of for found in self.of(name))


def state(connection: Connection) -> State:
    """The state of the copy of `connection`. Ends the session's transaction, and begins another."""
    connection_id = connection.id
    seen = (connection.status, connection.connected_by, connection.factory_name)
    is_active, renewal_fails = connection.status is ConnectionStatus.ACTIVE, connection.failures > 0
    db.session.rollback()  # a request must not use two connections of the pool
    found = sync.status(connection_id)
    resources = {
        name: _freshness(name, status, _why(name, status, is_active, renewal_fails))
        for name, status in sorted(found.items())
    }
    hears = _hears(connection_id)
    # Claims and releases of the lease change these columns, so each stored chunk is noticed.
    cursors = [found[name].cursor for name in resources]
    moves = [(cursor.fence, cursor.lease_until is None) for cursor in cursors]
    told = repr((seen, moves, list(resources.values()), hears))
    return State(hashlib.sha256(told.encode()).hexdigest()[:16], resources, hears)


def _hears(connection_id: UUID) -> str:
    its = select(Webhook.state, Webhook.detail).where(Webhook.connection_id == connection_id)
    row = db.session.execute(its).first()
    if row and row.state == WebhookState.ACTIVE:
        return TOLD

    why = UNTOLD.get(row.detail or "", "") if row and row.state == WebhookState.UNAVAILABLE else ""
    return f"{why} {ASKS}".strip()


def _freshness(name: str, status: Status, why: str) -> Freshness:
    cursor = status.cursor
    age = as_of((status.at - cursor.read_at).total_seconds()) if cursor.read_at else ""
    complete = cursor.read_at if cursor.first_pass_at else None
    seen, total = min(cursor.seen, cursor.total), cursor.total
    return Freshness(name, _what(name), complete, age, seen, total, why, status.set_aside)


def _why(name: str, status: Status, is_active: bool, renewal_fails: bool) -> str:
    if not is_active:
        return ENDED

    again = seconds_until(status.cursor.next_attempt_at, status.at, PAUSE_AHEAD_SECONDS)
    if failure := status.cursor.failure:
        told = FAILURES.get(failure, OURS).format(what=_what(name))
        return f"{told} {_goes_on(again)}".rstrip()

    if not _is_late(status):
        return ""

    if renewal_fails:
        return f"{LOGIN} {_goes_on(again)}".rstrip()

    paused = seconds_until(status.paused_until, status.at, PAUSE_AHEAD_SECONDS)
    wait = max(again, paused)
    return f"{BUSY} {_goes_on(wait)}" if wait else STOPPED


def _is_late(status: Status) -> bool:
    at_work = seconds_until(status.cursor.lease_until, status.at, 2 * LEASE_SECONDS)
    return not at_work and (status.at - status.cursor.due_at).total_seconds() > LATE_SECONDS


def _goes_on(seconds: float) -> str:
    return f"This app tries again in {span(seconds) or 'less than a minute'}." if seconds else ""


def _what(name: str) -> str:
    return NAMES.get(name, name.replace("_", " "))
