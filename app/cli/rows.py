"""How connections look on a terminal."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from app.connections.overview import Line
from app.models import Connection, ConnectionEvent, User

COLUMNS = "{:<36}  {:<28}  {:<16}  {:<12}  {:<17}  {:<17}"
HEADING = COLUMNS.format(
    "E-MAIL", "FACTORY", "STATUS", "REASON", "LAST RENEWED", "NEXT RENEWAL"
).rstrip()


def row(line: Line) -> str:
    """One connection of a list."""
    return COLUMNS.format(
        plain(line.email),
        plain(line.factory_name or "-"),
        line.status,
        line.reason or "-",
        _moment(line.refreshed_at),
        _moment(line.next_renewal),
    ).rstrip()


def sheet(
    user: User, connection: Connection | None, history: Sequence[ConnectionEvent]
) -> Iterator[str]:
    """All that is known of one, line by line."""
    yield f"{plain(user.email)} (user {user.id})"
    if connection is None:
        yield "  not connected to Katana"
    else:
        for name, value in _facts(connection):
            yield f"  {name:<22}{value}"
    yield "History, newest first:"
    for happened in history:
        detail = f" ({plain(happened.detail)})" if happened.detail else ""
        yield f"  {_moment(happened.at)}  {happened.kind}{detail}"


def plain(text: str) -> str:
    """`text` without what a terminal would obey: it may come from elsewhere."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _facts(connection: Connection) -> Iterator[tuple[str, object]]:
    yield "connection", connection.id
    yield "factory", plain(connection.factory_name or "-")
    yield "status", connection.status
    yield "reason", connection.reason or "-"
    yield "connected", _moment(connection.connected_at)
    yield "last renewed", _moment(connection.refreshed_at)
    yield "to be renewed from", _moment(connection.renew_at)
    yield "access token used to", _moment(connection.expires_at)
    yield "nobody asks before", _moment(connection.next_attempt_at)
    yield "failures since", connection.failures
    yield "being renewed until", _moment(connection.lease_until)
    yield "perhaps spent since", _moment(connection.doubtful_since or connection.sent_at)
    yield "generation", connection.generation


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%MZ}" if at else "-"
