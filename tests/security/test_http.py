"""The server below the pages, attacked from outside: S-72 to S-78, named by their items."""

import re
from contextlib import ExitStack

import pytest

from tests.support.actors import Maker
from tests.support.callbacks import query
from tests.support.raw_requests import _without_token, ask, connected, raw, token_of
from tests.support.rig import Rig
from tests.support.routes import path, rules


@pytest.fixture
def ada(rig: Rig) -> Maker:
    """A maker who is signed in."""
    ada = rig.maker("ada")
    ada.sign_up()
    return ada


@pytest.mark.one_database
@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "localhost@evil.example", "127.0.0.1", ""]
)
def test_s72_another_host_is_not_answered(rig: Rig, host: str) -> None:
    """S-72: a request for a host that is not ours is refused on every route but the probes.

    A balancer asks /healthz and /readyz by an address, which no setting can know beforehand.
    """
    for rule in rules(rig.app, "GET"):
        if path(rule) in {"/healthz", "/readyz"}:
            assert ask(rig, "GET", path(rule), headers={"Host": host}).text == "ok\n"
            continue

        given = ask(rig, "GET", path(rule), headers={"Host": host})

        assert given.status_code == 400, rule.rule
        assert "evil" not in given.text + str(given.headers)


SPOOFED = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Port": "444",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Ssl": "on",
    "Forwarded": "for=203.0.113.9;host=evil.example;proto=https",
    "X-Script-Name": "/evil",
    "X-Original-Url": "/evil",
    "X-Http-Method-Override": "DELETE",
}


@pytest.mark.one_database
def test_s73_without_a_proxy_nobody_speaks_for_one(rig: Rig, ada: Maker) -> None:
    """S-73: with PROXY_HOPS=0 what a browser says of a proxy changes no link, cookie or page."""
    plain, spoofed = (ask(rig, "GET", "/sign-in", headers=headers) for headers in ({}, SPOOFED))

    assert spoofed.status_code == 200
    assert _without_token(spoofed.text) == _without_token(plain.text)
    assert "Secure" not in spoofed.headers["Set-Cookie"]
    assert "evil" not in str(spoofed.headers)
    away = ask(rig, "GET", "/dashboard", headers=SPOOFED)
    assert (away.status_code, away.headers["Location"]) == (303, "/sign-in")
    there = ada.browser.send("POST", "/katana/connect", token_of(ada), SPOOFED)  # type: ignore[call-arg]
    assert rig.environ["KATANA_REDIRECT_URI"] == query(there.location or "")["redirect_uri"]


@pytest.mark.accounts
@pytest.mark.one_database
def test_s73_an_address_that_is_made_up_evades_no_limit(rig: Rig) -> None:
    """S-73: who tries passwords under a new X-Forwarded-For each time is stopped all the same."""
    jar = rig.jar()
    form = jar.send("GET", "/sign-in")
    tried = {**form.form("/sign-in").fields, "email": "ada@workshop.example", "password": "wrong"}

    statuses = [
        jar.send("POST", "/sign-in", tried, {"X-Forwarded-For": f"203.0.113.{n}"}).status
        for n in range(12)
    ]

    assert statuses == [422] * 10 + [429] * 2


@pytest.mark.one_database
@pytest.mark.parametrize("where", ["/?__debugger__=yes&cmd=resource&f=debugger.js", "/console"])
def test_s74_there_is_no_debugger(rig: Rig, where: str) -> None:
    """S-74: neither Werkzeug's console nor its files are served."""
    given = ask(rig, "GET", where)

    assert given.status_code in {200, 404}
    assert "debugger" not in given.text.lower()


@pytest.mark.one_database
def test_s75_a_large_body_is_refused_unread(rig: Rig) -> None:
    """S-75: ten megabytes, many fields or many parts are refused, soon and with nothing done."""
    huge = b"a" * 10_000_000
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    many = "&".join(f"f{n}=" for n in range(5000))
    parts = {f"f{n}": (None, "") for n in range(1001)}

    assert ask(rig, "POST", "/sign-in", data=huge, headers=kind).status_code == 413
    # In chunks the size is not known before: 64 KiB are read, which hold no token.
    assert ask(rig, "POST", "/sign-in", data=iter([huge]), headers=kind).status_code == 400
    assert ask(rig, "POST", "/katana/callback", data=huge, headers=kind).status_code == 413
    assert ask(rig, "POST", "/sign-in", files=parts).status_code == 413
    assert ask(rig, "POST", "/sign-in", data=many, headers=kind).status_code == 400
    announced = b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000000\r\n\r\n"
    assert raw(rig, announced).startswith(b"HTTP/1.1 4")


@pytest.mark.one_database
def test_s75_long_lines_and_many_headers_are_refused(rig: Rig) -> None:
    """S-75: a long address, header or cookie and many of them end in a 4xx, five hundred cookies in
    the page."""
    cookies = "; ".join(f"c{n}=v" for n in range(500))

    assert ask(rig, "GET", "/", headers={"Cookie": cookies}).status_code == 200
    assert ask(rig, "GET", "/", headers={"Cookie": "katana_known=" + "a" * 8000}).status_code == 200
    assert ask(rig, "GET", "/", headers={"Cookie": "a" * 9000}).status_code == 431
    assert ask(rig, "GET", "/" + "a" * 9000).status_code == 414
    many = {f"X-{n}": "v" for n in range(100)}
    assert ask(rig, "GET", "/", headers=many).status_code == 431


@pytest.mark.one_database
def test_s75_who_sends_slowly_keeps_nobody_else_waiting(rig: Rig) -> None:
    """S-75: some that stop in the middle of a header or a body hold a thread each, and no more."""
    halves = [
        b"GET / HTTP/1.1\r\nHost: local",
        b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nemail",
        b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nema",
    ]
    with ExitStack() as stack:
        for half in halves * 2:
            stack.enter_context(connected(rig)).sendall(half)

        for _ in range(20):
            assert ask(rig, "GET", "/sign-in").status_code == 200


@pytest.mark.one_database
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "TRACK", "CONNECT", "PROPFIND"])
def test_s76_a_page_takes_the_methods_that_it_declares(rig: Rig, method: str) -> None:
    """S-76: nothing is echoed, and no list of methods is given beyond a 405's own."""
    for rule in rules(rig.app, "GET"):
        given = ask(rig, method, f"{path(rule)}?canary", headers={"X-Canary": "canary"})

        # Flask adds the route of files, and OPTIONS to it, before it is told not to.
        assert given.status_code == 405 or (method, rule.endpoint) == ("OPTIONS", "static")
        assert "canary" not in given.text.lower()
        assert "Access-Control-Allow-Methods" not in given.headers


HIDDEN = [
    *("/.git/config", "/.git/HEAD", "/.env", "/.env.example", "/instance/app.db", "/wsgi.py"),
    *("/requirements.txt", "/app/config.py", "/static/../config.py", "/static/..%2fconfig.py"),
    *("/static/%2e%2e/%2e%2e/.env", "/static//etc/passwd", "/static/....//config.py", "/static/"),
    *("/static/..\\config.py", "/static/style.css%00.html", "/static/style.css.map", "/static"),
    *(
        "/openapi.json",
        "/swagger",
        "/admin",
        "/debug",
        "/server-status",
        "/actuator",
        "/.well-known/",
    ),
    *("//evil.example/", "/\\evil.example/", "/%2f%2fevil.example/", "/;/dashboard", "/dashboard/"),
]


@pytest.mark.one_database
@pytest.mark.parametrize("where", HIDDEN)
def test_s77_nothing_but_the_pages_is_served(rig: Rig, where: str) -> None:
    """S-77: no repository, setting, database, source, listing, map or hidden page; no detour."""
    given = raw(
        rig, f"GET {where} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )

    status, _, rest = given.partition(b"\r\n")
    assert status.split()[1] in {b"308", b"400", b"404"}, given
    assert b"Location:" not in rest or b"Location: http://localhost/" in rest


@pytest.mark.one_database
def test_s77_health_has_no_details(rig: Rig) -> None:
    """S-77: everybody may ask, and learns one word."""
    assert ask(rig, "GET", "/healthz").text == ask(rig, "GET", "/readyz").text == "ok\n"


SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKS = f"0\r\n\r\n{SMUGGLED}"
#: The headers of a POST, and what stands behind them.
AMBIGUOUS = {
    "both lengths": ("Content-Length: 4\r\nTransfer-Encoding: chunked", CHUNKS),
    "both lengths, turned": ("Transfer-Encoding: chunked\r\nContent-Length: 60", CHUNKS),
    "two lengths": ("Content-Length: 0\r\nContent-Length: 44", SMUGGLED),
    "a list of lengths": ("Content-Length: 0, 44", SMUGGLED),
    "a signed length": ("Content-Length: +0", SMUGGLED),
    "a strange coding": ("Transfer-Encoding: xchunked", CHUNKS),
    "chunked twice": ("Transfer-Encoding: chunked, chunked", CHUNKS),
    "chunked, not last": ("Transfer-Encoding: chunked, identity", CHUNKS),
    "a space before the colon": ("Transfer-Encoding : chunked", CHUNKS),
    "a wrong chunk": ("Transfer-Encoding: chunked", f"-1\r\n\r\n{SMUGGLED}"),
    "two hosts": ("Host: evil.example", ""),
    "the same host twice": ("Host: localhost", ""),
    "a folded line": ("X-Folded: a\r\n b", ""),
    "a bare line feed": ("X-A: b\nX-C: d", ""),
    "a bare return": ("X-A: b\rX-C: d", ""),
    "a zero byte": ("X-A: b\0c", ""),
}


@pytest.mark.one_database
@pytest.mark.parametrize(("headers", "body"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_s78_what_two_servers_could_read_differently_is_refused(
    rig: Rig, headers: str, body: str
) -> None:
    """S-78: a refusal, and what stands behind it in the same breath is not served."""
    first = "POST /sign-in HTTP/1.1\r\nHost: localhost"

    given = raw(rig, f"{first}\r\n{headers}\r\n\r\n{body}".encode())

    assert set(re.findall(rb"HTTP/1.[01] (\d)", given)) in ({b"4"}, {b"5"}), given
    assert "/smuggled" not in rig.log()
