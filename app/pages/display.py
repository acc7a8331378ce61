"""How values look on a page: times, sums, quantities, and Katana's words in plain ones."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from flask import Flask
from markupsafe import Markup

from app.connections.models import Connection, ConnectionEvent, EventKind, Reason

EVENTS = {
    EventKind.CONNECTED: "Connected",
    EventKind.REFRESHED: "Access renewed",
    EventKind.REFRESH_FAILED: "Access not renewed",
    EventKind.RECONNECT_NEEDED: "Access ended",
    EventKind.DISCONNECTED: "Disconnected",
}
REASONS = {
    Reason.GRANT_ENDED: (
        "Katana has ended this app's access, so your orders and stock cannot be shown until you "
        "reconnect."
    ),
    Reason.ANSWER_LOST: (
        "An answer from Katana was lost on the way, and this app's access with it, so your orders "
        "and stock cannot be shown until you reconnect."
    ),
}
DETAILS = {
    "not_sent": "Katana could not be reached; tried again later",
    "answer_lost": "Katana's answer did not arrive",
    "grant_refused": "Katana refused; asked once more to be sure",
    "client_refused": "Katana did not accept this app's credentials",
    "login_busy": "Katana was busy; tried again later",
    "no_access_token": "Katana's answer lacked something; asked again later",
    "request_refused": "Katana refused the request",
    "seal_broken": "This app could not open its stored keys",
    "overtaken": "This app had just renewed it already",
    "incident": "Katana refused many connections at once; tried again later",
    "recovered": "After an answer that did not arrive",
    "grant_ended": "Katana has withdrawn its permission",
    "revoked": "Keys deleted here, access revoked at Katana",
    "not_offered": "Keys deleted here",
    "failed": "Keys deleted here, not confirmed by Katana",
}


def init_app(app: Flask) -> None:
    """Give the templates their filters."""
    values = (moment, day, money, quantity, status)
    connections = (reason, next_renewal, event, event_detail, went_wrong)
    for shown in (*values, *connections):
        app.add_template_filter(shown)


def moment(at: datetime) -> Markup:
    """Day and time."""
    return _time(at, f"{_day(at)}, {at:%H:%M} UTC")


def day(at: datetime | None) -> Markup | str:
    """The day alone."""
    return _time(at, _day(at)) if at else ""


def money(amount: Decimal | None, currency: str) -> str:
    """A sum with its currency; cents only, however many decimals Katana sends."""
    return "" if amount is None else f"{amount:,.2f} {currency}".rstrip()


def quantity(amount: Decimal) -> str:
    """A quantity without zeros that say nothing."""
    return f"{amount.normalize():,f}"


def status(katana_status: str) -> str:
    """`NOT_SHIPPED` as `Not shipped`."""
    return katana_status.replace("_", " ").capitalize()


def reason(why: Reason | None) -> str:
    """Why a connection must be made again, as a sentence."""
    return REASONS[why or Reason.GRANT_ENDED]


def next_renewal(connection: Connection) -> datetime:
    """When access is renewed next, or when that is tried again after it failed."""
    return max(connection.renew_at, connection.next_attempt_at or connection.renew_at)


def event(happened: ConnectionEvent, history: Sequence[ConnectionEvent]) -> str:
    """What happened; in its `history`, a connect that took the place of another says so.

    What came right before it must be in there.
    """
    told = EVENTS[happened.kind]
    again = happened.kind is EventKind.CONNECTED and any(
        earlier.connection_id == happened.connection_id and earlier.id < happened.id
        for earlier in history
    )
    return f"{told} again" if again else told


def event_detail(happened: ConnectionEvent) -> str:
    """Why, or with what outcome; empty where there is nothing to add."""
    return DETAILS.get(happened.detail or "", "")


def went_wrong(happened: ConnectionEvent) -> bool:
    """Whether it was nothing that anybody wanted."""
    return happened.kind in {EventKind.REFRESH_FAILED, EventKind.RECONNECT_NEEDED}


def _day(at: datetime) -> str:
    return f"{at.day} {at:%b %Y}"


def _time(at: datetime, shown: str) -> Markup:
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(timespec="seconds"), shown)
