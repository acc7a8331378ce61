"""A hostile Katana, seen from outside: S-25 to S-27, S-34 to S-36, A-8 to A-22, named by item.

Katana's login and API are one server here that answers as it is told to, by the byte if need be.
What is not here:

S-25: certificates that are run out or of another host, and an authority that is trusted, need one;
the app trusts the public ones alone, and takes no other: `tests/katana/test_transport_tls.py`
gives it one.
A-14, A-20: no item of their own. A-21, A-22: versions, in `tests/repository/test_requirements.py`.
O-1 to O-3, O-6 are the flow's and the refresh's; O-7 and O-8 need OpenID Connect.
"""

import json
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme

from app import connections
from app.connections import sealed_grant
from tests.conftest import MakeApp
from tests.support.actors import ClientBrowser, Maker
from tests.support.callbacks import callback, query
from tests.support.hostile_katana import (
    GOOD,
    LOST,
    RECORD,
    Katana,
    as_json,
    change,
    connect,
    drips_body,
    drips_headers,
    goes_on,
    grant,
    hangs,
    make_due,
    row,
)
from tests.support.pages import Page
from tests.support.rig import Rig
from tests.support.sandbox import TIMEOUT, Sandbox
from tests.support.wire import Peer, Script, Wire, answer, answering, wire


@pytest.mark.short_form(1)
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


@pytest.mark.slow
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


@pytest.mark.short_form(1)
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
