"""How values look on a page: times, sums, quantities, and Katana's constants as plain words."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from flask import Flask
from markupsafe import Markup

from app.connections.backoff import LONGEST_PAUSE_SECONDS
from app.connections.lifecycle import Revocation
from app.connections.models import Connection, ConnectionEvent, EventKind, Reason
from app.connections.outcomes import RefreshOutcome
from app.database.clock import seconds_until
from app.katana.oauth import LONGEST_LIFETIME_SECONDS

EVENTS = {
    EventKind.CONNECTED: "Connected",
    EventKind.REFRESHED: "Access renewed",
    EventKind.REFRESH_FAILED: "Access not renewed",
    EventKind.RECONNECT_NEEDED: "Access ended",
    EventKind.DISCONNECTED: "Disconnected",
}
REASONS = {
    Reason.GRANT_ENDED: (
        "Katana has ended this app's access, so nothing new can be read from it until you "
        "reconnect."
    ),
    Reason.ANSWER_LOST: (
        "An answer from Katana was lost on the way, and this app's access with it, so nothing new "
        "can be read from it until you reconnect."
    ),
}
#: Of a refresh that failed.
OUTCOMES: Mapping[str, str] = {
    RefreshOutcome.NOT_SENT: "Katana could not be reached; tried again later",
    RefreshOutcome.ANSWER_LOST: "Katana's answer did not arrive",
    RefreshOutcome.GRANT_REFUSED: "Katana refused; asked once more to be sure",
    RefreshOutcome.CLIENT_REFUSED: "Katana did not accept this app's credentials",
    RefreshOutcome.LOGIN_BUSY: "Katana was busy; tried again later",
    RefreshOutcome.NO_ACCESS_TOKEN: "Katana's answer lacked something; asked again later",
    RefreshOutcome.REQUEST_REFUSED: "Katana refused the request",
    RefreshOutcome.FAILING_ALONE: "Katana renews other accounts; reconnect to go on",
    RefreshOutcome.SEAL_BROKEN: "This app could not open its stored keys",
    RefreshOutcome.OVERTAKEN: "This app had just renewed it already",
    RefreshOutcome.INCIDENT: "Katana refused many connections at once; tried again later",
    RefreshOutcome.RECOVERED: "After an answer that did not arrive",
}
DETAILS: Mapping[str, str] = {
    **OUTCOMES,
    Reason.GRANT_ENDED: "Katana has withdrawn its permission",
    Revocation.REVOKED: "Keys deleted here, access revoked at Katana",
    Revocation.NOT_OFFERED: "Keys deleted here",
    Revocation.FAILED: "Keys deleted here, not confirmed by Katana",
}


def init_app(app: Flask) -> None:
    """Give the templates their filters."""
    values = (moment, day, money, quantity, status, times, count, ago)
    connections = (reason, next_renewal, event, event_detail, went_wrong)
    for shown in (*values, *connections):
        app.add_template_filter(shown)


def moment(at: datetime) -> Markup:
    """Date and time."""
    return _time(at, f"{_day(at)}, {at:%H:%M} UTC", "moment")


def day(at: datetime | None) -> Markup | str:
    """The date only."""
    return _time(at, _day(at), "day") if at else ""


def money(amount: Decimal | None, currency: str) -> str:
    """A sum with its currency, in cents, even if Katana sends more decimals."""
    return "" if amount is None else f"{amount:,.2f} {currency}".rstrip()


def quantity(amount: Decimal) -> str:
    """A quantity without trailing zeros."""
    return f"{amount.normalize():,f}"


def status(katana_status: str) -> str:
    """`NOT_SHIPPED` as `Not shipped`."""
    return katana_status.replace("_", " ").capitalize()


def times(count: int) -> str:
    """How often: `once`, `1,204 times`."""
    return "once" if count == 1 else f"{count:,} times"


def count(number: int, one: str, many: str) -> str:
    """A number with its noun: `1 order`, `1,240 orders`."""
    return f"{number:,} {one if number == 1 else many}"


def ago(seconds: float) -> str:
    """How long ago, in the largest unit that fits: `5 minutes ago`."""
    length = span(seconds)
    return f"{length} ago" if length else "just now"


def as_of(seconds: float) -> str:
    """The same after the words `as of`."""
    length = span(seconds)
    return f"{length} ago" if length else "a moment ago"


def span(seconds: float) -> str:
    """A duration in the largest unit that fits: `5 minutes`; empty below a minute."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        number = int(seconds // length)
        if number:
            return f"{number} {unit}{'s' if number > 1 else ''}"
    return ""


def reason(why: Reason | None) -> str:
    """Why the user has to connect again, as a sentence."""
    return REASONS[why or Reason.GRANT_ENDED]


def next_renewal(connection: Connection, now: datetime) -> datetime:
    """When the next refresh is due: after the back-off, if one has failed."""
    waits = (
        seconds_until(connection.renew_at, now, LONGEST_LIFETIME_SECONDS),
        seconds_until(connection.next_attempt_at, now, LONGEST_PAUSE_SECONDS),
    )
    return now + timedelta(seconds=max(waits))


def event(happened: ConnectionEvent, history: Sequence[ConnectionEvent]) -> str:
    """An event as text. A connect that replaced another one says `again`.

    `history` must contain the event before it.
    """
    told = EVENTS[happened.kind]
    again = happened.kind is EventKind.CONNECTED and any(
        earlier.connection_id == happened.connection_id and earlier.id < happened.id
        for earlier in history
    )
    return f"{told} again" if again else told


def event_detail(happened: ConnectionEvent) -> str:
    """The reason or the outcome of an event; empty if there is nothing to add."""
    return DETAILS.get(happened.detail or "", "")


def went_wrong(happened: ConnectionEvent) -> bool:
    """Whether the event is a failure."""
    return happened.kind in {EventKind.REFRESH_FAILED, EventKind.RECONNECT_NEEDED}


def _day(at: datetime) -> str:
    return f"{at.day} {at:%b %Y}"


def _time(at: datetime, shown: str, form: str) -> Markup:
    # `page.js` shows times and dates in the visitor's own time zone.
    return Markup('<time datetime="{}" data-form="{}">{}</time>').format(
        at.isoformat(timespec="seconds"), form, shown
    )
