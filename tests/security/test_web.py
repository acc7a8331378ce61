"""Pages, attacked from outside: S-66 to S-71 and S-79 to S-82, each test named by its item.

Everything here is over HTTP, against two workers, or in Chromium; `tests/support/rig.py` tells how.
What is not here:

S-69: that http is sent on to https is the proxy's; the app is served to it on loopback.
S-78: HTTP/2 and TLS are the proxy's as well; gunicorn speaks HTTP/1.1 only.
S-79: a database user without the right to change tables is whoever sets DATABASE_URL; README.
S-82: the locks are read in `tests/repository/test_requirements.py`; `make audit` asks for
advisories.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from stat import S_IMODE

import flask_migrate
import pytest
import requests
from flask import Flask
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import text

from app import create_app
from app.database.db import db
from app.pages.security import FROM_ELSEWHERE
from app.settings.config import ROOT
from tests.support.actors import Maker
from tests.support.journeys import sign_up
from tests.support.raw_requests import ask, raw, token_of
from tests.support.rig import Rig
from tests.support.routes import path, rules
from tests.support.wire import answer, answering, wire

GUARDS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
TABLES = ("users", "user_sessions", "connect_attempts", "connections", "connection_events")


@pytest.fixture
def ada(rig: Rig) -> Maker:
    """A maker who is signed in."""
    ada = rig.maker("ada")
    ada.sign_up()
    return ada


def forms(app: Flask) -> list[str]:
    """Where the forms of this app are sent to; Katana's way back is none of them."""
    return [path(rule) for rule in rules(app, "POST") if rule.endpoint not in FROM_ELSEWHERE]


def stored(rig: Rig) -> dict[str, int]:
    """How many rows there are."""
    with rig.app.app_context():
        count = {
            name: db.session.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()
            for name in TABLES
        }
        db.session.rollback()
    return count


def test_s66_a_form_is_taken_with_its_own_token_only(rig: Rig, ada: Maker) -> None:
    """S-66: neither without one, nor with another user's or another session's, nor by GET."""
    ada.connect()
    bea, elsewhere = rig.maker("bea"), rig.maker("ada")
    bea.sign_up()
    elsewhere.sign_in()
    own = token_of(ada)["csrf_token"]
    foreign = [token_of(maker)["csrf_token"] for maker in (bea, elsewhere)]
    before = stored(rig)

    for where in forms(rig.app):
        for token in (None, "", own[:-1], own + "x", *foreign):
            form = {} if token is None else {"csrf_token": token}
            page = ada.browser.send("POST", where, form)
            if where in {"/sign-up", "/sign-in"}:  # signed in already: on to the dashboard
                assert (page.status, page.location) == (303, "/dashboard")
                continue
            assert page.status == 400, where
            assert "This form was open for too long" in page.text
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            page = ada.browser.send(method, f"{where}?csrf_token={own}")
            assert page.status == 405 or method == "GET", where

    assert stored(rig) == before


@pytest.mark.one_database
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "made up"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[broken"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
def test_s66_a_form_on_another_site_is_refused(
    rig: Rig, ada: Maker, headers: dict[str, str]
) -> None:
    """S-66: what the browser says was sent from elsewhere is not taken, its token or not."""
    form, before = token_of(ada), stored(rig)

    for where in forms(rig.app):
        page = ada.browser.send("POST", where, form, headers)  # type: ignore[call-arg]
        assert page.status == 403, where

    assert stored(rig) == before
    here = {"Origin": rig.served.url, "Sec-Fetch-Site": "same-origin"}
    assert ada.browser.send("POST", "/sign-out", form, here).status == 303  # type: ignore[call-arg]


def one_of_each(rig: Rig, ada: Maker) -> dict[str, requests.Response]:
    """An answer of every kind that this app gives."""
    cookies, token = ada.browser.cookies, token_of(ada)  # type: ignore[attr-defined]

    def ask_as_ada(method: str, where: str, **asked: object) -> requests.Response:
        return ask(rig, method, where, **{"cookies": cookies, **asked})

    style = ask_as_ada("GET", "/static/style.css")
    wrong = {**token, "email": "ada@workshop.example", "password": "something else altogether"}
    return {
        "200 page": ask_as_ada("GET", "/dashboard"),
        "200 for strangers": ask_as_ada("GET", "/", cookies={}),
        "200 health": ask_as_ada("GET", "/healthz"),
        "200 file": style,
        "304 file": ask_as_ada(
            "GET", "/static/style.css", headers={"If-None-Match": style.headers["ETag"]}
        ),
        "303 to sign in": ask_as_ada("GET", "/dashboard", cookies={}),
        "303 to Katana": ask_as_ada("POST", "/katana/connect", data=token),
        "303 of a callback": ask_as_ada(
            "POST", "/katana/callback", data={"state": "s", "code": "c"}
        ),
        "400 no token": ask_as_ada("POST", "/sign-out"),
        "400 callback": ask_as_ada("GET", "/katana/callback?state=s&code=c"),
        "400 host": ask_as_ada("GET", "/dashboard", headers={"Host": "evil.example"}),
        "400 host of a file": ask_as_ada(
            "GET", "/static/style.css", headers={"Host": "evil.example"}
        ),
        "401": ask_as_ada("POST", "/katana/disconnect", data=token, cookies={}),
        "401 callback": ask_as_ada("GET", "/katana/callback?state=s&code=c", cookies={}),
        "403": ask_as_ada(
            "POST", "/sign-out", data=token, headers={"Sec-Fetch-Site": "cross-site"}
        ),
        "404": ask_as_ada("GET", "/nowhere"),
        "404 file": ask_as_ada("GET", "/static/nowhere.css"),
        "404 folder": ask_as_ada("GET", "/static/"),
        "405": ask_as_ada("DELETE", "/dashboard"),
        "405 head": ask_as_ada("HEAD", "/katana/callback?state=s&code=c"),
        "413": ask_as_ada("POST", "/sign-in", data=token | {"email": "a" * 70_000}),
        "422, or 303 for who is believed": ask_as_ada("POST", "/sign-in", data=wrong),
    }


@pytest.mark.one_database
def test_s70_every_answer_is_guarded(rig: Rig, ada: Maker) -> None:
    """S-20, S-21, S-67, S-70: pages, redirects, files and every kind of error carry the headers."""
    answers = one_of_each(rig, ada)
    policy = [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        f"form-action 'self' {rig.sandbox.url}",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]

    for kind, given in answers.items():
        headers = given.headers
        assert str(given.status_code) in kind, kind
        assert headers.items() >= GUARDS.items(), kind
        assert headers["Content-Security-Policy"].split("; ") == policy, kind
        assert headers["Referrer-Policy"] in {"same-origin", "no-referrer", "strict-origin"}, kind
        if "file" not in kind or given.status_code >= 400:
            assert headers["Cache-Control"] == "no-store", kind
            assert "Cookie" in headers["Vary"], kind
        if given.content:
            assert headers["Content-Type"].endswith("; charset=utf-8"), kind
        assert not re.search(r"\d", headers["Server"]), "a version is nobody's business"
        assert not headers.keys() & {"X-Powered-By", "Access-Control-Allow-Origin"}, kind
        assert "Strict-Transport-Security" not in headers, "on loopback it would stick"


def test_s81_what_fails_fails_closed(rig: Rig, ada: Maker) -> None:
    """S-70, S-81: with a table gone nobody is told that all is well, and no word of why."""
    ada.connect()
    _rename(rig, "connections", "elsewhere")
    try:
        pages = [ada.browser.send("GET", "/dashboard")]
        pages.append(ada.browser.send("POST", "/katana/disconnect", token_from_elsewhere(ada)))
    finally:
        _rename(rig, "elsewhere", "connections")

    for page in pages:
        assert page.status in {500, 503}
        assert page.headers.items() >= GUARDS.items()
        assert not re.search("Disconnected|Alder|SELECT|connections|psycopg|sqlite", page.text)
    assert "Alder" in ada.dashboard().text


def token_from_elsewhere(maker: Maker) -> dict[str, str]:
    """The token of this browser, from a page that needs no connection."""
    return maker.get("/").form("/sign-out").fields


def _rename(rig: Rig, old: str, new: str) -> None:
    with rig.app.app_context():
        db.session.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))
        db.session.commit()


INJECTED = [
    "'",
    "' OR '1'='1",
    "'; DROP TABLE users; --",
    '" OR ""="',
    "\\'; SELECT pg_sleep(9); --",
    "1) UNION SELECT sealed_refresh_token FROM connections --",
    "%27%20OR%201=1",
    "{{7777*7777}}",
    "${7777*7777}",
    '"><input name="injected">',
    "\x00",
    "\ud7ff\uffff\U0010ffff",
]


@pytest.mark.slow
@pytest.mark.accounts
def test_s79_quotes_are_text(rig: Rig, ada: Maker) -> None:
    """S-79: in no field, parameter or path does SQL, a template or a tag do anything."""
    ada.connect()
    before = stored(rig)
    stranger = rig.jar()
    blank = stranger.send("GET", "/sign-in").form("/sign-in").fields

    for sql in INJECTED:
        for email, password in ((sql, "x"), (f"{sql}@workshop.example", sql), ("a@b.example", sql)):
            rig.allow_more_tries()
            for where in ("/sign-in", "/sign-up") if sql in email else ("/sign-in",):
                page = stranger.send("POST", where, {**blank, "email": email, "password": password})
                assert page.status == 422, (where, email)
                assert page.form(where).fields.keys() == blank.keys()
                assert "60481729" not in page.text
        for name in ("code", "state", "error", "iss"):
            given = {"state": "s", "code": "c", name: sql}
            there = requests.Request(
                "GET", "http://localhost/katana/callback", params=given
            ).prepare()
            assert ada.browser.send("GET", there.path_url).status == 400, (name, sql)
        there = requests.Request("GET", f"http://localhost/x{sql[1:]}").prepare()
        assert ada.browser.send("GET", there.path_url).status == 404

    assert stored(rig) == before
    assert "Alder" in ada.dashboard().text


@pytest.mark.one_database
def test_s79_a_sqlite_file_is_its_owners_alone(rig: Rig, tmp_path: Path) -> None:
    """S-79: the database, and what SQLite keeps beside it, whatever the umask."""
    file = tmp_path / "app.db"
    app = create_app(rig.environ | {"DATABASE_URL": f"sqlite:///{file}"})
    before = os.umask(0)
    try:
        with app.app_context():
            flask_migrate.upgrade(directory=str(ROOT / "migrations"))
            db.session.execute(text("SELECT 1 FROM users"))
            modes = {path.name: S_IMODE(path.stat().st_mode) for path in tmp_path.glob("app.db*")}
            db.engine.dispose()
    finally:
        os.umask(before)

    assert modes == {"app.db": 0o600, "app.db-wal": 0o600, "app.db-shm": 0o600}


TOLD = [
    "sign in refused",
    "signed up",
    "signed in",
    ": connected in",
    ": refreshed in",
    "AttemptRefused",
    ": disconnected (revoked)",
]
FORGED = "2026-11-23 09:00:00 INFO    user 1: signed in"


@pytest.mark.accounts
@pytest.mark.one_database
def test_s80_what_matters_is_told_and_nothing_forges_a_line(rig: Rig, ada: Maker) -> None:
    """S-80: sign-ins, connections and what was refused are in the log, a line each."""
    elsewhere = rig.maker("ada")
    form = elsewhere.get("/sign-in").form("/sign-in").fields
    for email in (ada.email, f"{FORGED}\r\n{FORGED}\n{FORGED}"):
        wrong = {**form, "email": email, "password": f"wrong\r\n{FORGED}"}
        elsewhere.browser.send("POST", "/sign-in", wrong)
    ada.connect()
    rig.sandbox.expire()
    ada.dashboard()
    ada.get("/katana/callback?code=c&state=made-up")
    ada.disconnect()
    end = FORGED.replace(" ", "%20")
    for line_end in ("%0d%0a", "%0a", "%0d", "%0b", "%0c", "%1b[2K", "%c2%85", "%e2%80%a8"):
        raw(rig, f"GET /x{line_end}{end} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    given = {"User-Agent": FORGED, "X-Request-ID": FORGED, "Referer": FORGED}
    ask(rig, "GET", "/katana/callback?code=c&state=s&error=e", headers=given)

    log = rig.log()
    assert [told for told in TOLD if told not in log] == []
    assert not [line for line in log.splitlines() if line.startswith(FORGED)]
    assert "\x1b" not in log


@pytest.fixture
def page(browser: Browser, rig: Rig) -> Iterator[Page]:
    """A window in front of the served app, signed in."""
    context = browser.new_context(base_url=rig.served.url)
    page = context.new_page()
    sign_up(page)
    yield page
    context.close()


#: How a tag or a script of somebody else's would try to get data out. {} is another site.
WAYS_OUT = (
    "<form action='{}' method=post><button id=go></form>",
    "<img src='{}'>",
    "<link rel=stylesheet href='{}'>",
    "<iframe src='{}'></iframe>",
    "<img src=/nowhere onerror=\"location='{}'\">",
    "<base href='{}'><img src=x.png>",
    "<object data='{}'></object>",
)
INSERT = """html => {
    document.body.insertAdjacentHTML('beforeend', html);
    document.getElementById('go')?.click();
}"""


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.one_database
def test_s67_a_page_reaches_katana_and_no_other_site(page: Page) -> None:
    """S-67: what was smuggled into a page is stopped by the browser, by our policy."""
    with wire(answering(answer(b"caught"))) as elsewhere:
        for tag in WAYS_OUT:
            with page.expect_console_message(lambda said: "Content Security Policy" in said.text):
                page.evaluate(INSERT, tag.replace("{}", elsewhere.url))
            page.reload()

    assert not any(peer.received for peer in elsewhere.peers)
    page.get_by_role("button", name="Connect to Katana").click()
    expect(page.get_by_role("button", name="Approve")).to_be_visible()
    page.wait_for_load_state("load")  # else Katana's server is left in the middle of a file


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.one_database
def test_s71_no_other_site_can_frame_a_page(page: Page, rig: Rig) -> None:
    """S-71: a page that lies under another site's is not shown, so no click on it can be led."""
    frames = "".join(f"<iframe src='{rig.served.url}{at}'></iframe>" for at in ("/", "/dashboard"))
    other = answer(frames.encode(), content_type="text/html")
    with wire(answering(other)) as elsewhere:
        page.goto(elsewhere.url, wait_until="load")

        framed = page.frames[1:]
        assert len(framed) == 2
        assert not any("Katana" in frame.content() for frame in framed)
