"""What the callback shows and costs, attacked from outside: S-18 to S-24, named by item."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import quote, urljoin, urlsplit

import pytest
from flask import Flask

from app.database.db import db
from tests.support.actors import Maker
from tests.support.callbacks import callback, query
from tests.support.pages import Page
from tests.support.rig import Rig
from tests.support.rows import attempts
from tests.support.sandbox import Sandbox
from tests.support.statements import statements

ALDER = "Alder &amp; Spoke Bicycles"

#: Where an open redirect would lead away; the list grew out of other apps' holes.
ELSEWHERE = (
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/%09/evil.example",
    "/%2f/evil.example",
    "https:evil.example",
    "http:///evil.example",
    "https://evil.example",
    "javascript:alert(1)",
    "//app@evil.example",
    "/a%0d%0aX-Evil: y",
    "/sign-in?next=//evil.example",
    "%0d%0aLocation: //evil.example",
    "/" + "a" * 900,
)
AWAY = re.compile(r"evil|javascript|X-Evil", re.IGNORECASE)


@pytest.fixture
def ada(rig: Rig) -> Maker:
    """A maker who is signed in."""
    ada = rig.maker("ada")
    ada.sign_up()
    return ada


@pytest.fixture
def katana_is_not_asked(rig: Rig) -> Iterator[None]:
    """At the end of the test no code was sent."""
    yield
    assert not rig.sandbox.ledger().of("exchange"), "a refused callback asked Katana"


@pytest.mark.one_database
def test_s18_a_post_becomes_a_get_and_does_nothing_else(rig: Rig, ada: Maker) -> None:
    """S-18: it needs no cookie, passes the four parameters on, and nothing else of the form."""
    rig.sandbox.rules(callback_method="post")
    answer = rig.sandbox.approve(ada.begin())
    assert answer.form

    posted = rig.jar().send("POST", "/katana/callback", answer.form | {"other": "x"})

    assert (posted.status, posted.text) == (303, "")
    assert urlsplit(posted.location or "").path == "/katana/callback"
    assert query(posted.location or "") == answer.form
    assert "Set-Cookie" not in posted.headers
    assert not rig.sandbox.ledger().of("exchange")
    assert attempts(rig.app) == 1
    assert f"Connected to {ALDER}." in ada.get(posted.location or "").text


@pytest.mark.usefixtures("katana_is_not_asked")
@pytest.mark.one_database
def test_s18_no_other_method_reaches_the_callback(rig: Rig, ada: Maker) -> None:
    """S-18: a HEAD request, such as a mail scanner's, looks at the page and uses nothing up."""
    path = callback(code="c", state=query(ada.begin())["state"])

    for method in ("HEAD", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "GETX"):
        assert ada.browser.send(method, path).status in {405, 501}, method
    override = {"X-HTTP-Method-Override": "GET", "X-Method-Override": "GET"}
    assert ada.browser.send("PUT", path, headers=override).status == 405

    assert attempts(rig.app) == 1


@pytest.mark.one_database
def test_s19_the_callback_shows_nothing_and_leaves_a_clean_address(rig: Rig, ada: Maker) -> None:
    """S-19: a redirect without a body, to an address without a code."""
    page = ada.browser.send("GET", rig.sandbox.approve(ada.begin()).url)

    assert (page.status, page.location, page.text) == (303, "/dashboard", "")


@pytest.mark.one_database
def test_s19_no_page_loads_anything_from_elsewhere(rig: Rig, ada: Maker) -> None:
    """S-19: no script, picture, font or count of visitors sees an address of ours."""
    ada.connect()
    shown = [rig.jar().send("GET", path) for path in ("/", "/sign-in", "/sign-up", "/nowhere")]
    shown += [ada.dashboard(), ada.get(callback(code="c", state="x")), ada.connect(decision="no")]

    for page in shown:
        loaded = re.findall(r'\b(?:src|href|action)="([^"]*)"', page.text)
        assert loaded
        for address in loaded:
            ours = urljoin(rig.served.url, address)
            assert urlsplit(ours).netloc == urlsplit(rig.served.url).netloc
        assert page.text.count("<script") == page.text.count('<script src="/static/page.js')


@pytest.mark.one_database
def test_s20_s21_no_answer_is_kept_or_passes_its_address_on(rig: Rig, ada: Maker) -> None:
    """S-20, S-21: every answer but the static files, with a session and without, errors included.

    Forms need an Origin to be judged by, so that their pages may name themselves to this site.
    """
    at_katana = rig.sandbox.approve(ada.begin())
    answers: dict[str, Page] = {}
    for who, jar in (("ada", ada.browser), ("nobody", rig.jar())):
        for path in sorted({rule.rule for rule in rig.app.url_map.iter_rules()} | {"/nowhere"}):
            if "<" not in path:
                for method in ("GET", "POST"):
                    answers[f"{who} {method} {path}"] = jar.send(method, path)
    answers["connected"] = ada.browser.send("GET", at_katana.url)
    answers["cancelled"] = ada.connect(decision="cancel")

    assert len(answers) > 40
    for name, page in answers.items():
        assert page.headers["Cache-Control"] == "no-store", name
        assert "Cookie" in page.headers["Vary"], name
        referrer = page.headers["Referrer-Policy"]
        if "/katana/callback" in name or page.status >= 400 or name == "connected":
            assert referrer == "no-referrer", name
        else:
            assert referrer in {"same-origin", "strict-origin", "no-referrer"}, name


@pytest.mark.usefixtures("katana_is_not_asked")
@pytest.mark.one_database
def test_s22_a_flood_of_junk_costs_no_request_and_stops_nobody_else(rig: Rig, ada: Maker) -> None:
    """S-22: 320 made-up callbacks meet a limit over both workers, and Bob still connects."""
    bob = rig.maker("bob")
    bob.sign_up()
    asked = len(rig.sandbox.ledger().requests)
    tabs = [rig.copy_of(ada.browser) for _ in range(8)]

    def flood(tab: int) -> list[int]:
        urls = [callback(code="c", state=f"{tab}-{n}") for n in range(40)]
        return [tabs[tab].send("GET", url).status for url in urls]

    with ThreadPoolExecutor(len(tabs)) as pool:
        statuses = [status for came in pool.map(flood, range(len(tabs))) for status in came]

    assert set(statuses) == {400, 429}
    # A request is let in before it is counted, so that one more for each tab may slip through.
    assert 120 <= statuses.count(400) <= 120 + len(tabs)
    assert len(rig.sandbox.ledger().requests) == asked
    assert bob.get(callback(error="access_denied", state=query(bob.begin())["state"])).status == 200


@pytest.mark.slow
@pytest.mark.one_database
def test_s22_the_thousandth_made_up_callback_costs_no_more_than_the_first(
    app: Flask, maker: Maker, sandbox: Sandbox
) -> None:
    """S-22: it asks nothing of Katana, and no more of the database, whatever came before it."""
    maker.sign_up()
    urls = [callback(code="c", state=f"made-up-{n}") for n in range(1000)]

    with app.app_context():
        engine = db.engine
    with statements(engine) as seen:
        statuses, costs = [], []
        for url in urls:
            before = len(seen)
            statuses.append(maker.browser.send("GET", url).status)
            costs.append(len(seen) - before)

    assert set(statuses) == {400, 429}
    assert statuses.count(429) > 700
    assert 0 < max(costs[100:]) <= max(costs[:100])
    assert not sandbox.ledger().requests


def literally(rig: Rig, target: str) -> HTTPResponse:
    """The answer to a request for `target` as it is; most clients tidy it up."""
    connection = HTTPConnection("localhost", urlsplit(rig.served.url).port or 80, timeout=30)
    connection.putrequest("GET", target, skip_host=False)
    connection.endheaders()
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


@pytest.mark.accounts
@pytest.mark.one_database
def test_s23_nobody_is_sent_elsewhere(rig: Rig, ada: Maker) -> None:
    """S-23: no address in a query or a form leads off this site, and none is a failure of ours."""
    ada.sign_out()
    names = ("next", "url", "return_to", "redirect_uri")

    for target in ELSEWHERE:
        given = "&".join(f"{name}={quote(target, safe='%')}" for name in names)
        closed = ada.browser.send("GET", f"/dashboard?{given}")
        form = ada.browser.send("GET", f"/sign-in?{given}").form("/sign-in").fields
        filled = form | {"email": ada.email, "password": ada.password, "next": target}
        signed_in = ada.browser.send("POST", f"/sign-in?{given}", filled)
        again = ada.browser.send("GET", f"/sign-in?{given}")
        missing = literally(rig, quote(target, safe="%/:\\@"))
        signed_out = ada.submit(ada.dashboard(), "/sign-out", next=target)

        assert (closed.status, closed.location) == (303, "/sign-in"), target
        assert (signed_in.status, signed_in.location) == (303, "/dashboard"), target
        assert (again.status, again.location) == (303, "/dashboard"), target
        assert (signed_out.status, signed_out.location) == (303, "/"), target
        assert missing.status < 500, target
        assert not AWAY.search(str(missing.getheaders())), target


@pytest.mark.short_form(1)
@pytest.mark.one_database
@pytest.mark.parametrize("scope", ["offline_access admin", "read", ""])
def test_s24_another_scope_than_was_asked_for_is_logged(rig: Rig, ada: Maker, scope: str) -> None:
    """S-24: this app asks for one scope, and nothing in it looks at what else was granted."""
    given = {"access_token": "AT", "refresh_token": "RT", "token_type": "Bearer", "scope": scope}
    rig.sandbox.fault("exchange", "body", text=json.dumps(given), content_type="application/json")
    rig.sandbox.fault("api", "status", status=500)

    page = ada.browser.send("GET", rig.sandbox.approve(ada.begin()).url)

    assert (page.status, page.location) == (303, "/dashboard")
    assert "Katana granted another scope than offline_access" in rig.log()
