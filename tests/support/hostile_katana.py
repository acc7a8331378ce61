"""A Katana whose responses a test chooses, and checks of the result."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
from hypothesis import strategies as st
from sqlalchemy import select, update

from app import connections
from app.connections import sealed_grant
from app.connections.models import Connection, ConnectionEvent, Status
from app.database.clock import SystemClock
from app.database.db import db
from app.katana.oauth import TOKEN_CHARACTERS
from tests.support.actors import Maker
from tests.support.callbacks import callback, query
from tests.support.pages import Page
from tests.support.rig import Rig
from tests.support.wire import Heard, Peer, Script, answer

GOOD = {
    "access_token": "canary-access-0123456789",
    "refresh_token": "canary-refresh-0123456789",
    "scope": "offline_access",
    "expires_in": 86400,
    "token_type": "Bearer",
}
#: A record that is valid as an order, a customer, a product and its stock.
RECORD: dict[str, object] = {
    "id": 1,
    "order_no": "SO-1",
    "customer_id": 1,
    "status": "NOT_SHIPPED",
    "total": 1,
    "currency": "EUR",
    "order_created_date": "2026-11-23T09:00:00Z",
    "name": "Oak",
    "uom": "pcs",
    "variants": [{"id": 1, "sku": "OAK"}],
    "variant_id": 1,
    "quantity_in_stock": "1.00000",
    "quantity_committed": "1.00000",
}
NAME = "Wire & Works"
LOST = "Katana&#39;s answer did not arrive"


def as_json(body: object, status: int = 200, **headers: str) -> Script:
    """Respond with this JSON, once; bytes are sent unchanged."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda peer: peer.send(answer(data, status, named))


def grant(**changed: object) -> Script:
    """A valid grant after this change; None removes a field."""
    return as_json({n: value for n, value in (GOOD | changed).items() if value is not None})


class Katana:
    """A Katana that a test controls, with a script for each endpoint."""

    def __init__(self) -> None:
        self.start_again()

    def start_again(self) -> None:
        """Reset it to correct behaviour."""
        self.login = grant()
        self.api = as_json([])
        self.factory = as_json({"display_name": NAME})
        self.revoke = as_json(b"")
        self.by_code: dict[str, Script] = {}
        self.by_token: dict[str, Script] = {}

    def __call__(self, peer: Peer) -> None:
        while True:
            self._script(peer.hear())(peer)

    def _script(self, heard: Heard) -> Script:
        if heard.target.startswith("/v1/factory"):
            return self.factory
        if heard.target.startswith("/v1/"):
            return self.by_token.get(heard.headers["authorization"], self.api)
        if heard.target.startswith("/oauth/revoke"):
            return self.revoke
        return self.by_code.get(heard.form().get("code", ""), self.login)


RECORDER = """
import sys

def record(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple):
        seen = args[1][:2]
    elif event == "socket.getaddrinfo":
        seen = args[:2]
    else:
        return
    with open({file!r}, "a") as file:
        print(*seen, file=file)

sys.addaudithook(record)
"""


def connect(maker: Maker, code: str = "c") -> Page:
    """Connect without Katana's consent page; the final page."""
    state = query(maker.begin())["state"]
    return maker.browser.send("GET", callback(code=code, state=state))


def row(rig: Rig) -> Connection | None:
    """The stored connection."""
    with rig.app.app_context():
        found = db.session.scalars(select(Connection)).one_or_none()
        db.session.expunge_all()
        return found


def change(rig: Rig, **columns: Any) -> None:
    """Set columns of the only connection. A number for a time is seconds from now."""
    clock = SystemClock()
    values = {
        name: clock.database_time(value) if isinstance(value, int) else value
        for name, value in columns.items()
    }
    with rig.app.app_context():
        db.session.execute(update(Connection).values(**values))
        db.session.commit()


def make_due(rig: Rig) -> None:
    """Make a refresh of the connection due, while its token is still valid."""
    change(rig, renew_at=-1, next_attempt_at=None, sent_at=None, doubtful_since=None)
    budgets = db.metadata.tables.get("sync_accounts")  # a fork may have deleted sync
    if budgets is not None:
        with rig.app.app_context():
            db.session.execute(update(budgets).values(budget_left=60))
            db.session.commit()


def last_event(rig: Rig) -> tuple[str, str | None]:
    """The newest event."""
    with rig.app.app_context():
        newest = select(ConnectionEvent).order_by(ConnectionEvent.id.desc()).limit(1)
        event = db.session.scalars(newest).one()
        return event.kind, event.detail


def hangs(peer: Peer) -> None:
    """Never respond."""
    peer.wait()


def drips_headers(peer: Peer) -> None:
    """Never end the headers."""
    peer.drip(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"." * 10_000, seconds=0.2)


def drips_body(peer: Peer) -> None:
    """Never end the body."""
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
    peer.drip(b"." * 10_000, seconds=0.2)


def goes_on(peer: Peer) -> None:
    """Send informational responses for ever."""
    while True:
        peer.drip(b"HTTP/1.1 100 Continue\r\n\r\n", seconds=0.2)


DEEP = b'{"a":' * 30_000 + b"1" + b"}" * 30_000
NONSENSE = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a number": b"5",
    "an empty object": b"{}",
    "a page": b"<!doctype html><title>Please wait</title>",
    "two objects": json.dumps(GOOD).encode() * 2,
    "a field twice": json.dumps(GOOD).encode()[:-1] + b',"access_token":"other"}',
    "deep": DEEP,
    "deep brackets": b"[" * 60_000,
    "no UTF-8": b'{"access_token":"\xff"}',
    "50 MB": b'{"access_token":"' + b"a" * 50_000_000 + b'"}',
}

WRONG: list[object] = [
    *(None, "x", [], {}, True, -1, 0.1, 10**30, "9" * 5000, "<b>", "\x00", "\ud800x"),
    *("1e99999999", "-1e9999999999999", "1e-9999999", "NaN", "sNaN", "Infinity"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", [{}], [None], [{"id": None}]),
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
tokens = st.text("a!~ \x7f\x80\r\né", max_size=6)
ERRORS = ["invalid_grant", "invalid_client", "temporarily_unavailable", "too_many_requests"]
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "access_token": tokens | json_values,
    "refresh_token": tokens | json_values,
    "token_type": st.sampled_from(["BEARER", "mac"]) | json_values,
    "expires_in": st.integers(-1, 10**8) | st.just("3600") | json_values,
    "scope": st.text(max_size=600) | json_values,
    "error": st.sampled_from(ERRORS) | json_values,
    "expires_at": json_values,
}
changed = st.sampled_from([*FIELDS]).flatmap(lambda name: st.tuples(st.just(name), FIELDS[name]))


def assert_sound(rig: Rig, connection: Connection) -> None:
    """Check what the rest of the app assumes about the row."""
    with rig.app.app_context():
        opened = connections.current().vault.open
    place = (connection.id, connection.user_id)
    for token in (
        opened(connection.sealed_access_token, sealed_grant.access_token_aad(*place)),
        opened(connection.sealed_refresh_token, sealed_grant.refresh_token_aad(*place)),
    ):
        assert 0 < len(token) <= TOKEN_CHARACTERS
        assert all("!" <= letter <= "~" for letter in token)
    scope = connection.scope
    assert scope is None or (len(scope) <= 500 and scope.isprintable())
    life = connection.expires_at - connection.refreshed_at
    assert timedelta() < life <= timedelta(days=366)
    assert connection.renew_at <= connection.expires_at
    assert (connection.status is Status.ACTIVE) == (connection.reason is None)


def most_memory(rig: Rig) -> int:
    """The peak memory of a worker, in bytes."""
    workers = psutil.Process(rig.served.process.pid).children()
    return max(peak(worker) for worker in workers)


def peak(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():  # only Linux records the peak
        return int(process.memory_info().rss)

    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
