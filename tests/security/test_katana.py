"""A hostile Katana, seen from outside: S-25 to S-36, A-8 to A-22, each test named by its item.

Katana's login and API are one server here that answers as it is told to, by the byte if need be.
What is not here:

S-25: certificates that are run out or of another host, and an authority that is trusted, need one;
the app trusts the public ones alone, and takes no other: `tests/katana/test_transport.py` gives it
one.
A-14, A-20: no item of their own. A-21, A-22: versions, in `tests/repository/test_repository.py`.
O-1 to O-3, O-6 are the flow's and the refresh's; O-7 and O-8 need OpenID Connect.
"""

import gzip
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import trustme
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from app import connections
from app.connections import sealed_grant
from app.connections.models import Connection, ConnectionEvent, Status
from app.database.clock import SystemClock
from app.database.db import db
from app.katana.oauth import DEFAULT_LIFETIME_SECONDS, TOKEN_CHARACTERS
from tests.conftest import MakeApp
from tests.support.actors import ClientBrowser, Maker
from tests.support.callbacks import callback, query
from tests.support.pages import Page
from tests.support.rig import Rig
from tests.support.sandbox import TIMEOUT, Sandbox
from tests.support.wire import Heard, Peer, Script, Wire, answer, answering, wire

pytestmark = pytest.mark.slow_on("postgresql")

GOOD = {
    "access_token": "canary-access-0123456789",
    "refresh_token": "canary-refresh-0123456789",
    "scope": "offline_access",
    "expires_in": 86400,
    "token_type": "Bearer",
}
#: A record that is an order, a customer, a product and its stock at once.
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
    """Answers with this, once; bytes as they are."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda peer: peer.send(answer(data, status, named))


def grant(**changed: object) -> Script:
    """A good grant after this change; None leaves a field out."""
    return as_json({n: value for n, value in (GOOD | changed).items() if value is not None})


class Katana:
    """A Katana that answers as a test tells it, at each place its way."""

    def __init__(self) -> None:
        self.start_again()

    def start_again(self) -> None:
        """Be well behaved."""
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


@pytest.fixture(scope="module")
def played() -> Katana:
    """What Katana does."""
    return Katana()


@pytest.fixture(scope="module")
def server(played: Katana) -> Iterator[Wire]:
    """Where it does that."""
    with wire(played) as server:
        yield server


@pytest.fixture(scope="module")
def egress(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that names every address which the served app connects to or looks up."""
    return tmp_path_factory.mktemp("egress") / "seen"


@pytest.fixture(scope="module")
def rig_settings(server: Wire, egress: Path) -> dict[str, str]:
    """This Katana, for everything but the consent page; and whom the app talks to is recorded."""
    (egress.parent / "sitecustomize.py").write_text(RECORDER.format(file=str(egress)))
    return {
        "KATANA_ACCESS_TOKEN_URL": f"{server.url}/oauth/token",
        "KATANA_REVOKE_URL": f"{server.url}/oauth/revoke",
        "KATANA_API_BASE_URL": f"{server.url}/v1",
        "PYTHONPATH": str(egress.parent),
    }


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


@pytest.fixture
def katana(played: Katana, server: Wire) -> Katana:
    """Katana, well behaved until it is told otherwise."""
    played.start_again()
    server.heard.clear()
    return played


@pytest.fixture
def ada(rig: Rig, katana: Katana) -> Maker:
    """A maker who is signed in."""
    rig.secret(GOOD["access_token"], GOOD["refresh_token"])  # type: ignore[arg-type]
    ada = rig.maker("ada")
    ada.sign_up()
    return ada


def connect(maker: Maker, code: str = "c") -> Page:
    """The way to Katana and back, as it came: Katana's consent page is left out."""
    state = query(maker.begin())["state"]
    return maker.browser.send("GET", callback(code=code, state=state))


def row(rig: Rig) -> Connection | None:
    """The connection as it is stored."""
    with rig.app.app_context():
        found = db.session.scalars(select(Connection)).one_or_none()
        db.session.expunge_all()
        return found


def change(rig: Rig, **columns: Any) -> None:
    """Set columns of the one connection; seconds are from now."""
    clock = SystemClock()
    values = {
        name: clock.database_time(value) if isinstance(value, int) else value
        for name, value in columns.items()
    }
    with rig.app.app_context():
        db.session.execute(update(Connection).values(**values))
        db.session.commit()


def make_due(rig: Rig) -> None:
    """Let whoever comes by renew the connection, whose token is still good."""
    change(rig, renew_at=-1, next_attempt_at=None, sent_at=None, doubtful_since=None)
    budgets = db.metadata.tables.get("sync_accounts")  # a fork may do without sync
    if budgets is not None:
        with rig.app.app_context():
            db.session.execute(update(budgets).values(budget_left=60))
            db.session.commit()


def last_event(rig: Rig) -> tuple[str, str | None]:
    """The newest line of the history."""
    with rig.app.app_context():
        newest = select(ConnectionEvent).order_by(ConnectionEvent.id.desc()).limit(1)
        event = db.session.scalars(newest).one()
        return event.kind, event.detail


@pytest.mark.one_database
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_s26_no_redirect_is_followed_anywhere(
    rig: Rig, katana: Katana, ada: Maker, status: int
) -> None:
    """S-26, A-11: neither with a code, a refresh token, a revocation nor at the API."""
    connect(ada)
    with wire(answering(answer(json.dumps(GOOD).encode()))) as elsewhere:
        away = as_json(GOOD, status, Location=f"{elsewhere.url}/oauth/token")
        katana.login = katana.api = katana.revoke = away

        make_due(rig)
        ada.dashboard()
        assert LOST in connect(ada).text
        gone = ada.disconnect()

    assert elsewhere.peers == []
    assert "Katana did not confirm" in gone.text
    assert row(rig) is None


def hangs(peer: Peer) -> None:
    """Say nothing."""
    peer.wait()


def drips_headers(peer: Peer) -> None:
    """Never come to the end of the headers."""
    peer.drip(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"." * 10_000, seconds=0.2)


def drips_body(peer: Peer) -> None:
    """Never come to the end of the body."""
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
    peer.drip(b"." * 10_000, seconds=0.2)


def goes_on(peer: Peer) -> None:
    """Say for ever that the answer is still to come."""
    while True:
        peer.drip(b"HTTP/1.1 100 Continue\r\n\r\n", seconds=0.2)


@pytest.mark.dashboard
@pytest.mark.one_database
def test_s27_every_request_ends_and_others_are_served_meanwhile(rig: Rig, katana: Katana) -> None:
    """S-27, A-12: Katana hangs or drips everywhere at once; each gets a page, all others theirs."""
    slow = {"hangs": hangs, "headers": drips_headers, "body": drips_body, "on": goes_on}
    arrived = threading.Semaphore(0)

    def counted(script: Script) -> Script:
        def play(peer: Peer) -> None:
            arrived.release()
            script(peer)

        return play

    makers = {name: rig.maker(name) for name in (*slow, "api", "pages", "revoke")}
    katana.by_code["pages"] = grant(access_token="canary-pages-0123456789")
    for name, maker in makers.items():
        maker.sign_up()
        if name not in slow:
            connect(maker, name)
    tokens = {name: maker.dashboard() for name, maker in makers.items()}
    katana.by_code = {name: counted(script) for name, script in slow.items()}
    endless = as_json([RECORD], X_Pagination='{"total_pages": 1000000000}')
    katana.by_token["Bearer canary-pages-0123456789"] = endless
    katana.api, katana.revoke = counted(drips_body), counted(hangs)
    ask: dict[str, Callable[[], Page]] = {
        name: lambda name=name: connect(makers[name], name)  # type: ignore[misc]
        for name in slow
    }
    ask["api"], ask["pages"] = makers["api"].dashboard, makers["pages"].dashboard
    ask["revoke"] = lambda: makers["revoke"].submit(tokens["revoke"], "/katana/disconnect")

    with ThreadPoolExecutor(len(ask)) as pool:
        pending = {name: pool.submit(one) for name, one in ask.items()}
        for _ in ("api", "revoke", "a callback"):  # a worker has one place for callbacks
            assert arrived.acquire(timeout=TIMEOUT)
        served = [rig.jar().send("GET", "/sign-in").status for _ in range(20)]
        pages = {name: future.result() for name, future in pending.items()}

    assert served == [200] * 20
    # 502: Katana did not answer the exchange; 503: no place was free, and the code is still unused.
    assert {pages[name].status for name in slow} <= {502, 503}
    assert 502 in {pages[name].status for name in slow}
    assert pages["api"].status == pages["pages"].status == 503
    assert pages["revoke"].status == 303


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


@pytest.mark.one_database
def test_s28_nonsense_is_one_error_and_takes_no_memory(
    rig: Rig, katana: Katana, ada: Maker
) -> None:
    """S-28, A-8: of a code's answer; fifty megabytes, plain or packed, are not kept."""
    packed = gzip.compress(b'{"access_token":"' + b"a" * 50_000_000, 1)
    katana.by_code = {name: as_json(body) for name, body in NONSENSE.items()}
    katana.by_code["packed"] = as_json(packed, Content_Encoding="gzip")
    katana.by_code["packed twice"] = as_json(gzip.compress(packed), Content_Encoding="gzip, gzip")
    connect(ada, "null")
    before = most_memory(rig)

    for name in katana.by_code:
        page = connect(ada, name)
        assert (page.status, LOST in page.text) == (502, True), name

    assert row(rig) is None
    assert most_memory(rig) - before < 16_000_000


WRONG: list[object] = [
    *(None, "x", [], {}, True, -1, 0.1, 10**30, "9" * 5000, "<b>", "\x00", "\ud800x"),
    *("1e99999999", "-1e9999999999999", "1e-9999999", "NaN", "sNaN", "Infinity"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", [{}], [None], [{"id": None}]),
]


@pytest.mark.one_database
def test_s28_nonsense_of_the_api_is_one_error(rig: Rig, katana: Katana, ada: Maker) -> None:
    """S-28: of the API's answers, whatever stands in them; the connection is untouched."""
    connect(ada)
    answers: list[object] = [*NONSENSE.values()]
    answers += [{"data": value} for value in WRONG]
    answers += [[RECORD | {field: value}] for field in RECORD for value in WRONG]

    for body in answers:
        katana.api = as_json(
            body,
            X_Pagination='{"total_pages": "1e400"}',
            X_Ratelimit_Limit="10000",
            X_Ratelimit_Remaining="9000",
        )
        page = ada.dashboard()
        assert page.status in {200, 503}, repr(body)[:80]
        assert "asks for a pause" not in page.text  # or nothing of the body was read
        assert "<b>" not in page.text
        assert len(page.text) < 20_000, repr(body)[:80]

    assert "Traceback" not in rig.log()


def test_s28_nonsense_for_a_name_costs_nothing(rig: Rig, katana: Katana, ada: Maker) -> None:
    """S-28: of the account that was connected: the connection stands, named or not."""
    names = (None, [], 10**30, "<b>", "\x00", "\ud800x", "x" * 100_000)
    for body in (
        *({"display_name": name} for name in names),
        NONSENSE["deep"],
        NONSENSE["no UTF-8"],
    ):
        katana.factory = as_json(body)
        assert "Connected to " in ada.get(connect(ada).location or "").text

    assert "Traceback" not in rig.log()


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
#: A good grant, one or two of whose fields are something else.
grants_given = st.lists(changed, min_size=1, max_size=2).map(lambda those: GOOD | dict(those))
statuses = st.sampled_from([200] * 8 + [201, 400, 403, 429, 500])


# A failing example is not made smaller: each try goes through the served app.
@settings(
    max_examples=30,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(first=GOOD, second=GOOD | {"refresh_token": "a b"}, status=200)
@example(first=GOOD, second=GOOD | {"scope": "a\nb"}, status=200)
@example(first=GOOD | {"access_token": ""}, second=GOOD, status=200)
@given(first=grants_given, second=grants_given, status=statuses)
def test_s29_whatever_is_answered_what_is_stored_is_sound(
    rig: Rig,
    katana: Katana,
    ada: Maker,
    first: dict[str, object],
    second: dict[str, object],
    status: int,
) -> None:
    """S-29, A-9: to a code and then to a refresh; no request ends as an error of our own."""
    katana.login = as_json(first, status)
    connected = connect(ada)
    before = row(rig)
    if before is not None:
        assert_sound(rig, before)
        katana.login = as_json(second, status)
        make_due(rig)
        assert ada.browser.send("GET", "/dashboard").status == 200
        after = row(rig)
        assert after
        assert_sound(rig, after)

    assert connected.status in {303, 400, 502, 503}
    assert (connected.status == 303) <= (before is not None)
    assert "Traceback" not in rig.log()


def assert_sound(rig: Rig, connection: Connection) -> None:
    """The row is what the rest of the app takes for granted."""
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


@pytest.mark.one_database
def test_s30_a_bearer_token_is_one_in_any_case_and_no_other_is_taken(
    rig: Rig, katana: Katana, ada: Maker
) -> None:
    """S-30, O-4: `bEaReR` connects, as does no type at all; another type does not."""
    for wrong in ("mac", "bearer mac", 5, [], {"a": 1}):
        katana.login = grant(token_type=wrong)
        assert connect(ada).status == 502
        assert row(rig) is None

    katana.login = grant(token_type="bEaReR")
    assert connect(ada).status == 303
    assert row(rig)


STATED: list[tuple[object, int]] = [
    (60, 60),
    ("3600", 3600),
    (86400, 86400),
    *((wrong, DEFAULT_LIFETIME_SECONDS) for wrong in (None, 0, -1, True, 10**12, "soon", [], 0.5)),
]


def test_s31_a_life_that_is_not_stated_is_a_short_one(rig: Rig, katana: Katana, ada: Maker) -> None:
    """S-31, A-10, O-5: absent, nought or nonsense never means for ever, nor does `expires_at`."""
    for stated, seconds in STATED:
        katana.login = grant(expires_in=stated, expires_at=9_999_999_999)
        connect(ada)

        stored = row(rig)
        assert stored
        life = (stored.expires_at - stored.refreshed_at).total_seconds()
        assert life == pytest.approx(sealed_grant.usable_seconds(seconds), abs=0.01), stated
        assert stored.refreshed_at <= stored.renew_at < stored.expires_at


def test_s32_without_a_refresh_token_nothing_begins_and_nothing_ends(
    rig: Rig, katana: Katana, ada: Maker
) -> None:
    """S-32: a first grant without one is our own mistake; at a refresh the old one stays."""
    for nothing in (None, ""):
        katana.login = grant(refresh_token=nothing)
        assert "This app is not set up right" in connect(ada).text
        assert row(rig) is None

    katana.login = grant()
    connect(ada)
    first = row(rig)
    for nothing in (None, ""):
        katana.login = grant(refresh_token=nothing)
        make_due(rig)
        ada.dashboard()

    stored = row(rig)
    assert first
    assert stored
    assert stored.generation == first.generation + 2
    assert stored.sealed_refresh_token == first.sealed_refresh_token


CLASSES = [
    (403, {"error": "invalid_grant"}, "grant_refused"),
    (401, {"error": "invalid_client"}, "client_refused"),
    (401, {"error": "access_denied"}, "client_refused"),
    (403, {"error": "access_denied"}, "request_refused"),
    (400, {"error": "interaction_required"}, "grant_refused"),
    (400, {"error": "unauthorized_client"}, "client_refused"),
    (429, {"error": "too_many_requests"}, "login_busy"),
    (400, {"error": "invalid_request"}, "request_refused"),
    (503, {"error": "temporarily_unavailable"}, "answer_lost"),
    (502, b"<h1>Bad gateway</h1>", "answer_lost"),
    (500, GOOD, "answer_lost"),
    (400, GOOD, "request_refused"),
]


@pytest.mark.parametrize(("status", "body", "told"), CLASSES)
def test_s33_no_one_answer_ends_a_connection(
    rig: Rig, katana: Katana, ada: Maker, status: int, body: object, told: str
) -> None:
    """S-33, A-9: each class by its word; our own mistake is an error in the log, no user's."""
    connect(ada)
    katana.login = as_json(body, status)
    make_due(rig)

    page = ada.dashboard()

    stored = row(rig)
    assert stored
    assert (page.status, stored.status) == (200, Status.ACTIVE)
    assert last_event(rig) == ("refresh_failed", told)
    assert ("check KATANA_CLIENT_ID" in rig.log()) is (told == "client_refused")


@pytest.mark.one_database
def test_s34_secrets_travel_in_the_body_alone(
    rig: Rig, katana: Katana, ada: Maker, server: Wire
) -> None:
    """S-34, S-36, A-13, A-15, A-17, O-9: of an exchange, a refresh, a revocation; a token at the
    API in its header alone."""
    connect(ada)
    make_due(rig)
    ada.dashboard()
    ada.disconnect()

    login = [heard for heard in server.heard if heard.target.startswith("/oauth/")]
    api = [heard for heard in server.heard if heard.target.startswith("/v1/")]
    assert [sorted(heard.form()) for heard in login] == [
        sorted(
            ["grant_type", "client_id", "client_secret", "redirect_uri", "code", "code_verifier"]
        ),
        sorted(["grant_type", "client_id", "client_secret", "redirect_uri", "refresh_token"]),
        sorted(["client_id", "client_secret", "token"]),
    ]
    assert not any("?" in heard.target or "authorization" in heard.headers for heard in login)
    assert {heard.headers["authorization"] for heard in api} == {f"Bearer {GOOD['access_token']}"}
    assert not any("canary" in heard.target or b"canary" in heard.body for heard in api)
    assert not any(
        "cookie" in heard.headers or "referer" in heard.headers for heard in server.heard
    )


@pytest.mark.one_database
def test_s35_nobody_leads_the_app_elsewhere(
    rig: Rig, katana: Katana, ada: Maker, server: Wire, egress: Path
) -> None:
    """S-35, A-18: whatever is named in a callback or an answer, Katana alone is asked."""
    names = (
        "jwks_uri",
        "token_endpoint",
        "issuer",
        "error_uri",
        "redirect_uri",
        "next",
        "id_token",
    )
    with wire(answering(answer(b"[]"))) as elsewhere:
        evil = f"{elsewhere.url}/"
        katana.login = grant(**dict.fromkeys(names, evil))
        katana.api = as_json(
            {"data": [], "links": {"next": evil}}, Link=f"<{evil}>; rel=next", Location=evil
        )
        state = query(ada.begin())["state"]
        named = {"iss": evil, "error_uri": evil, "next": evil, "session_state": evil}
        ada.get(callback(code="c", state=state, **named))
        ada.get("/dashboard?next=" + evil)
        ada.disconnect()

    assert elsewhere.peers == []
    host, port = server.server_address[:2]
    assert set(egress.read_text().splitlines()) == {f"{host} {port}"}


#: What may never have come, but might be stored: it would break out of its header.
UNSENDABLE = ["a\r\nX-Injected: 1", "a\nb", "", " ", "ключ", "a b", "\x00", "canary-\x7f"]


@pytest.mark.one_database
@pytest.mark.parametrize("token", UNSENDABLE, ids=repr)
def test_s36_a_token_that_cannot_be_sent_is_not(
    rig: Rig, katana: Katana, ada: Maker, server: Wire, token: str
) -> None:
    """S-36: nor is it shown or logged by the error of whoever finds it out."""
    token = f"canary-unsendable-token{token}"
    connect(ada)
    stored = row(rig)
    assert stored
    with rig.app.app_context():
        vault = connections.current().vault
    place = sealed_grant.access_token_aad(stored.id, stored.user_id)
    change(rig, sealed_access_token=vault.seal(token, place))

    page = ada.dashboard()

    assert page.status in {200, 503}
    assert not any("x-injected" in heard.headers for heard in server.heard)
    assert "unsendable" not in rig.log() + page.text


@pytest.mark.one_database
def test_s25_whoever_cannot_show_who_they_are_gets_nothing(
    new_app: MakeApp, sandbox: Sandbox
) -> None:
    """S-25: not a byte of a code or a secret leaves; the page says that Katana is not reached."""
    with wire(answering(answer()), _certified_by_nobody()) as server:
        app = new_app(KATANA_ACCESS_TOKEN_URL=f"https://{server.host}/oauth/token")
        ada = Maker(ClientBrowser(app.test_client()), sandbox)
        ada.sign_up()
        page = ada.connect()

    assert server.heard == []
    assert not any(b"client_secret" in peer.received for peer in server.peers)
    assert (page.status, "Katana cannot be reached" in page.text) == (503, True)


def _certified_by_nobody() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


def most_memory(rig: Rig) -> int:
    """The most that a worker has ever held, in bytes."""
    workers = psutil.Process(rig.served.process.pid).children()
    return max(peak(worker) for worker in workers)


def peak(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():  # only Linux keeps the peak
        return int(process.memory_info().rss)

    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
