"""Shows connections on a terminal."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.accounts.models import User
from app.connections.fleet.overview import Line
from app.connections.models import Connection, ConnectionEvent


@dataclass(frozen=True)
class Column:
    """One column of the list."""

    heading: str
    width: int
    shows: Callable[[Line], str]
    #: Whether a long value is cut off. An e-mail address is not, so that it can be copied.
    cut: bool = False


COLUMNS = (
    Column("E-MAIL", 36, lambda line: plain(line.email)),
    Column("FACTORY", 28, lambda line: plain(line.factory_name or "-"), cut=True),
    Column("STATUS", 16, lambda line: line.status),
    Column("REASON", 12, lambda line: line.reason or "-"),
    Column("LAST RENEWED", 17, lambda line: _moment(line.refreshed_at)),
    Column("NEXT RENEWAL", 17, lambda line: _moment(line.next_renewal)),
)
ON_A_NARROW_TERMINAL = ("E-MAIL", "STATUS", "NEXT RENEWAL")
GAP = "  "


def columns(terminal: int | None) -> Sequence[Column]:
    """The columns that fit into a terminal of this width; all of them without a terminal."""
    whole = sum(column.width + len(GAP) for column in COLUMNS) - len(GAP)
    if terminal is None or terminal >= whole:
        return COLUMNS

    return [column for column in COLUMNS if column.heading in ON_A_NARROW_TERMINAL]


def heading(shown: Sequence[Column]) -> str:
    """The line above a list."""
    return GAP.join(_padded(column.heading, column.width) for column in shown).rstrip()


def row(line: Line, shown: Sequence[Column]) -> str:
    """One connection of a list."""
    return GAP.join(_cell(column, column.shows(line)) for column in shown).rstrip()


def sheet(
    user: User, connection: Connection | None, history: Sequence[ConnectionEvent]
) -> Iterator[str]:
    """All details of one connection, line by line."""
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
    """`text` without control characters: it may come from outside, and a terminal executes them."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _cell(column: Column, text: str) -> str:
    if column.cut and _places(text) > column.width:
        while _places(text) >= column.width:
            text = text[:-1]
        text += "…"
    return _padded(text, column.width)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _places(text))


def _places(text: str) -> int:
    """How many cells of a terminal `text` takes: a Chinese character takes two, an accent none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _facts(connection: Connection) -> Iterator[tuple[str, object]]:
    yield "connection", connection.id
    yield "factory", plain(connection.factory_name or "-")
    yield "status", connection.status
    yield "reason", connection.reason or "-"
    yield "connected", _moment(connection.connected_at)
    yield "renewals", connection.renewals
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
