"""How values look on a page: times, sums, quantities, and Katana's words in plain ones."""

from datetime import datetime
from decimal import Decimal

from flask import Flask
from markupsafe import Markup

from app.models import ConnectionEvent, EventKind

DAY = "%-d %b %Y"
EVENTS = {
    EventKind.CONNECTED: "Connected",
    EventKind.REFRESHED: "Access renewed",
    EventKind.REFRESH_FAILED: "Access not renewed",
    EventKind.RECONNECT_NEEDED: "Access ended",
    EventKind.DISCONNECTED: "Disconnected",
}
DETAILS = {
    "not_sent": "Katana could not be reached; tried again later",
    "answer_lost": "Katana's answer did not arrive",
    "grant_refused": "Katana refused; asked once more to be sure",
    "client_refused": "Katana did not accept this app's credentials",
    "login_busy": "Katana was busy; tried again later",
    "request_refused": "Katana refused the request",
    "grant_ended": "Katana has withdrawn its permission",
    "revoked": "keys deleted here, permission withdrawn at Katana",
    "not_offered": "keys deleted here",
    "failed": "keys deleted here, not confirmed by Katana",
}


def init_app(app: Flask) -> None:
    """Give the templates their filters."""
    for filter_ in (moment, clock_time, day, money, quantity, status, event, event_detail):
        app.add_template_filter(filter_)


def moment(at: datetime) -> Markup:
    """Day and time."""
    return _time(at, f"{at:{DAY}, %H:%M} UTC")


def clock_time(at: datetime) -> Markup:
    """The time of a moment that is near."""
    return _time(at, f"{at:%H:%M} UTC")


def day(at: datetime | None) -> Markup | str:
    """The day alone."""
    return _time(at, f"{at:{DAY}}") if at else ""


def money(amount: Decimal | None, currency: str) -> str:
    """A sum with its currency; cents only, however many decimals Katana sends."""
    return "" if amount is None else f"{amount:,.2f} {currency}".rstrip()


def quantity(amount: Decimal) -> str:
    """A quantity without zeros that say nothing."""
    return f"{amount.normalize():,f}"


def status(katana_status: str) -> str:
    """`NOT_SHIPPED` as `Not shipped`."""
    return katana_status.replace("_", " ").capitalize()


def event(happened: ConnectionEvent) -> str:
    """What happened."""
    return EVENTS[happened.kind]


def event_detail(happened: ConnectionEvent) -> str:
    """Why, or with what outcome; empty where there is nothing to add."""
    return DETAILS.get(happened.detail or "", "")


def _time(at: datetime, shown: str) -> Markup:
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(timespec="seconds"), shown)
