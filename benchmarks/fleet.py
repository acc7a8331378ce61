"""A fleet as after months of use: users, connections and all their rows, quickly.

Most connections are healthy and not due. One in 33 has ended. For one in a hundred a refresh or a
list fails. Of the first users' connections some are idle and some are due; their number does not
depend on the size of the fleet. Each connection has a browser session, a budget, a webhook,
cursors, two orders in its copy and three rows of history. Some have a mail or an order to send.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    ColumnElement,
    Engine,
    Float,
    FromClause,
    Integer,
    Select,
    String,
    case,
    cast,
    func,
    literal,
    null,
    select,
    true,
    values,
)
from sqlalchemy import column as named

from app import connections
from app.accounts.models import User, UserSession
from app.connections import sealed_grant
from app.connections.models import Connection, ConnectionEvent, EventKind, Reason
from app.database.clock import DatabaseTime
from app.mail.models import Mail, MailState
from app.sync.copy import Order
from app.sync.models import SyncAccount, SyncCursor, Webhook, WebhookState
from app.sync.outbox import Outbox, OutboxState
from app.sync.resources import all_resources
from benchmarks.databases import SCATTER, fill_table, numbers, token

HOUR, DAY = 3600, 24 * 3600
EVENTS, ORDERS = 3, 2  # per connection
ENDED, FAILING, MAILED, SENDING = 33, 100, 20, 10  # one in so many connections
IDLE, DUE = 300, 10  # of the first connections


def fill(engine: Engine, first: int, last: int) -> None:
    """Add the users with these numbers to the fleet."""
    _fill_connections(engine, first, last)
    _fill_history(engine, first, last)
    _fill_sync(engine, first, last)


def is_well(number: int) -> bool:
    """Whether the connection of this user is active and without failures."""
    return bool(number > IDLE and number % ENDED and number % FAILING)


def email_of(number: int) -> str:
    """The e-mail address of a user."""
    return f"filler{number}@workshop.example"


def _fill_connections(engine: Engine, first: int, last: int) -> None:
    number = numbers(first, last)
    n, now = number.c.n, datetime.now(UTC)
    sealed = connections.current().vault.seal(
        token("filler"), sealed_grant.access_token_aad(uuid4(), 0)
    )
    ended, failing, idle = n % ENDED == 0, n % FAILING == 0, n <= IDLE
    email = literal("filler") + cast(n, String) + literal("@workshop.example")
    users = {"id": n, "email": email, "password_hash": "", "created_at": now}
    fill_table(engine, User.__table__, users, number)
    session = {
        "token_hash": func.md5(cast(n, String)),
        "user_id": n,
        "created_at": now,
        "last_seen_at": now,
        "expires_at": _spread(n, DAY, 14 * DAY),
    }
    fill_table(engine, UserSession.__table__, session, number)
    connection = {
        "id": func.gen_random_uuid(),
        "user_id": n,
        "status": _word(case((ended, "reconnect_needed"), else_="active")),
        "reason": _word(case((ended, Reason.GRANT_ENDED.value), else_=null())),
        "connected_by": "",
        "connected_at": _spread(n, -300 * DAY, -2 * HOUR),
        "sealed_access_token": sealed,
        "sealed_refresh_token": sealed,
        "expires_at": _spread(n, 0, DAY),
        "renew_at": case((failing, _spread(n, -HOUR, 0)), else_=_spread(n, 0, DAY)),
        "refreshed_at": case((idle, _spread(n, -8 * DAY, -7 * DAY)), else_=_spread(n, -DAY, 0)),
        "generation": 2,
        "parent_generation": 1,
        "fence": 1,
        "written_fence": 1,
        "failures": case((failing, 3), else_=0),
        "next_attempt_at": case((failing, _spread(n, HOUR // 2, HOUR)), else_=null()),
    }
    fill_table(engine, Connection.__table__, connection, number)


def _fill_history(engine: Engine, first: int, last: int) -> None:
    each = _rows_of(first, last, EVENTS)
    events = {
        "user_id": each.c.user_id,
        "connection_id": each.c.id,
        "kind": EventKind.CONNECTED,
        "at": each.c.connected_at,
    }
    fill_table(engine, ConnectionEvent.__table__, events, each)
    some = _connections(first, last, MAILED)
    mails = {
        "id": func.gen_random_uuid(),
        "connection_id": some.c.id,
        "generation": 1,
        "state": MailState.SENT.value,
        "created_at": some.c.connected_at,
        "texts_sent": 1,
        "tries": 0,
        "due_at": some.c.connected_at,
    }
    fill_table(engine, Mail.__table__, mails, some)


def _fill_sync(engine: Engine, first: int, last: int) -> None:
    every = _connections(first, last)
    n = every.c.user_id
    account = {"connection_id": every.c.id, "connected_by": "", "budget_limit": 60}
    fill_table(engine, SyncAccount.__table__, account | {"budget_left": 60}, every)
    webhook = {
        "connection_id": every.c.id,
        "key_hash": func.md5(cast(n, String)),
        "state": WebhookState.ACTIVE.value,
        "due_at": _spread(n, HOUR // 2, DAY),
        "failures": 0,
    }
    fill_table(engine, Webhook.__table__, webhook, every)
    _fill_cursors(engine, first, last)
    each = _rows_of(first, last, ORDERS)
    order = {
        "connection_id": each.c.id,
        "id": each.c.nth,
        "number": literal("SO-") + cast(each.c.nth, String),
        "status": "NOT_SHIPPED",
        "currency": "EUR",
        "ordered_at": each.c.connected_at,
        "updated_at": each.c.connected_at,
        "mark": 1,
    }
    fill_table(engine, Order.__table__, order, each)
    some = _connections(first, last, SENDING)
    outbox = {
        "id": func.gen_random_uuid(),
        "connection_id": some.c.id,
        "kind": "sales_order",
        "natural_key": "SO-1",
        "body": {},
        "state": OutboxState.SENT.value,
        "tries": 0,
        "due_at": some.c.connected_at,
        "created_at": some.c.connected_at,
    }
    fill_table(engine, Outbox.__table__, outbox, some)


def _fill_cursors(engine: Engine, first: int, last: int) -> None:
    """Healthy cursors are due within minutes. For one connection in a hundred Katana refuses."""
    names = values(named("name", String), name="names").data([(n,) for n in all_resources()])
    every = select(Connection.id, Connection.user_id, names.c.name)
    each = every.join(names, true()).where(_between(first, last)).subquery()
    failing = each.c.user_id % FAILING == 0
    due_at = case(
        (failing | (each.c.user_id <= DUE), _spread(each.c.user_id, -HOUR, 0)),
        else_=_spread(each.c.user_id, HOUR // 2, HOUR),
    )
    cursor = {
        "connection_id": each.c.id,
        "resource": each.c.name,
        "due_at": due_at,
        "failures": case((failing, 9), else_=0),
        "failure": case((failing, "forbidden"), else_=null()),
        "next_attempt_at": case((failing, _spread(each.c.user_id, HOUR // 2, HOUR)), else_=null()),
        "read_at": _spread(each.c.user_id, -300, 0),
        "first_pass_at": _spread(each.c.user_id, -30 * DAY, -DAY),
        **dict.fromkeys(("fence", "swept", "pages", "seen", "total"), 1),
        **dict.fromkeys(("mark", "shown_from"), 1),
        "is_whole": False,
    }
    fill_table(engine, SyncCursor.__table__, cursor, each)


def _connections(first: int, last: int, one_in: int = 1) -> FromClause:
    """One in `one_in` of the connections."""
    return _columns().where(_between(first, last), Connection.user_id % one_in == 0).subquery()


def _rows_of(first: int, last: int, many: int) -> FromClause:
    """`many` rows for each connection, with the column `nth`."""
    times = numbers(1, many)
    each = _columns().add_columns(times.c.n.label("nth")).join(times, true())
    return each.where(_between(first, last)).subquery()


def _columns() -> Select[*tuple[Any, ...]]:
    return select(Connection.id, Connection.user_id, Connection.connected_at)


def _between(first: int, last: int) -> ColumnElement[bool]:
    return Connection.user_id.between(first, last)


def _spread(n: ColumnElement[int], begin: float, end: float) -> ColumnElement[datetime]:
    """A time between two that are given in seconds from now; neighbours differ widely."""
    span = int(end - begin)
    return DatabaseTime(cast(literal(int(begin)) + cast(n, Integer) * SCATTER % span, Float))


def _word(value: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(value, String)
