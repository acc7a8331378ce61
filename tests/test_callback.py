"""Coming back from Katana: in every way that is not the right one, and in the right one."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode, urlsplit

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from app.clock import SystemClock
from app.db import db
from app.models import ConnectAttempt
from tests.actors import ClientBrowser, Maker
from tests.callbacks import callback, query
from tests.conftest import MakeApp, MakeMaker
from tests.rows import attempts, connection
from tests.sandbox import Callback, Sandbox
from tests.servers import Served

ALDER = "Alder &amp; Spoke Bicycles"
WICK = "tallow-and-wick"
FORM = "application/x-www-form-urlencoded"
USED_UP = "This way back from Katana is closed"

#: What no answer of Katana's looks like; `{state}` is that of an attempt under way.
DOUBTFUL = (
    "",
    "code=c",
    "state={state}",
    "code=&state={state}",
    "code=c&state=",
    "code=c&code=d&state={state}",
    "code=c&code=c&state={state}",
    "code=c&state={state}&state={state}",
    "code=c&error=access_denied&state={state}",
    "error=access_denied&error=server_error&state={state}",
    "error=&state={state}",
    "error=access_denied",
    "code=c&state={state}&iss=a&iss=b",
    "code=c&state={state}&iss=",
    "code=c%00&state={state}",
    "code=c%0d%0aSet-Cookie:x=y&state={state}",
    "code=c%E2%80%AE&state={state}",
    "code=" + "c" * 4097 + "&state={state}",
    "code=c&state=" + "s" * 4097,
)


@pytest.fixture
def ada(client: FlaskClient, sandbox: Sandbox) -> Maker:
    """A maker who is signed in, and whose browser is `client`."""
    ada = Maker(ClientBrowser(client), sandbox)
    ada.sign_up()
    return ada


@pytest.fixture
def katana_is_not_asked(sandbox: Sandbox) -> Iterator[None]:
    """At the end of the test no code was sent."""
    yield
    assert not sandbox.ledger().of("exchange"), "a refused callback asked Katana"


@pytest.mark.usefixtures("katana_is_not_asked")
@pytest.mark.one_database
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_doubtful_answer_is_refused_before_anything_else(
    app: Flask, client: FlaskClient, ada: Maker, method: str
) -> None:
    """S-15: it costs no request, no attempt and no connection."""
    state = query(ada.begin())["state"]

    for doubtful in DOUBTFUL:
        given = doubtful.format(state=state)
        sent = {"query_string": given} if method == "GET" else {"data": given, "content_type": FORM}
        answer = client.open("/katana/callback", method=method, **sent)

        assert answer.status_code == 400, doubtful
        assert USED_UP in answer.get_data(as_text=True), doubtful
        assert attempts(app) == 1, doubtful


@pytest.mark.one_database
@pytest.mark.usefixtures("katana_is_not_asked")
def test_nobody_finishes_an_attempt_that_nobody_began(ada: Maker) -> None:
    """S-02: an unknown state is refused."""
    page = ada.get(callback(code="c", state="x" * 43))

    assert page.status == 400
    assert USED_UP in page.text


@pytest.mark.usefixtures("katana_is_not_asked")
def test_another_browser_of_the_same_user_cannot_finish_it(
    ada: Maker, new_maker: MakeMaker, sandbox: Sandbox
) -> None:
    """S-02: an attempt belongs to the browser that began it."""
    other = new_maker("ada")
    other.sign_in()

    page = other.return_with(sandbox.approve(ada.begin()))

    assert page.status == 400
    assert USED_UP in page.text


@pytest.mark.usefixtures("katana_is_not_asked")
def test_another_user_of_the_same_browser_cannot_finish_it(
    ada: Maker, new_maker: MakeMaker, sandbox: Sandbox
) -> None:
    """S-03: what Ada began, Bob does not finish, not even where Ada sat before."""
    answer = sandbox.approve(ada.begin())
    ada.sign_out()
    bob = new_maker("bob")
    bob.browser = ada.browser
    bob.sign_up()

    assert bob.return_with(answer).status == 400
    assert "Connect your Katana account" in bob.dashboard().text


@pytest.mark.usefixtures("katana_is_not_asked")
def test_a_stranger_cannot_finish_it(app: Flask, ada: Maker, sandbox: Sandbox) -> None:
    """S-02: without a session nothing is consumed; the page says to sign in."""
    answer = sandbox.approve(ada.begin())

    page = app.test_client().get(answer.url)

    assert page.status_code == 401
    assert "You are not signed in" in page.get_data(as_text=True)
    assert attempts(app) == 1


@pytest.mark.usefixtures("katana_is_not_asked")
def test_an_attempt_is_good_for_ten_minutes(app: Flask, ada: Maker, sandbox: Sandbox) -> None:
    """S-05: after that the page offers to begin again."""
    answer = sandbox.approve(ada.begin())
    with app.app_context():
        lasts = select(ConnectAttempt.expires_at, ConnectAttempt.created_at)
        expires_at, created_at = db.session.execute(lasts).one()
        assert (expires_at - created_at).total_seconds() == pytest.approx(600, abs=1)
        over = update(ConnectAttempt).values(expires_at=SystemClock().database_time(-1))
        db.session.execute(over)
        db.session.commit()

    page = ada.return_with(answer)

    assert page.status == 400
    assert "begin again from there" in page.text


@pytest.mark.usefixtures("katana_is_not_asked")
@pytest.mark.one_database
@pytest.mark.parametrize(
    ("error", "status", "title"),
    [
        ("access_denied", 200, "You did not connect"),
        ("server_error", 400, "Katana had a problem"),
        ("temporarily_unavailable", 400, "Katana is busy"),
        ("invalid_request", 400, "Katana did not understand this app"),
        ("unauthorized_client", 400, "Katana does not know this app"),
        ("unsupported_response_type", 400, "Katana did not understand this app"),
        ("invalid_scope", 400, "Katana does not give this app the access it asks for"),
        ("call_this_number", 400, "Katana was not connected"),
    ],
)
def test_an_error_is_told_in_our_words(
    app: Flask, ada: Maker, error: str, status: int, title: str
) -> None:
    """S-16: each known code has its own words, any other the general ones, and all a way on."""
    state = query(ada.begin())["state"]

    page = ada.get(callback(error=error, state=state))

    assert page.status == status
    assert f"<h1>{title}</h1>" in page.text
    assert page.form("/katana/connect")
    assert attempts(app) == 0


@pytest.mark.usefixtures("katana_is_not_asked")
@pytest.mark.one_database
@pytest.mark.parametrize("error", ["access_denied", "another"])
def test_nothing_of_the_url_shows_up_anywhere(
    ada: Maker, caplog: pytest.LogCaptureFixture, error: str
) -> None:
    """S-17: what stands in a URL gets into no page, no header and no line of the log."""
    caplog.set_level(logging.DEBUG)
    state = query(ada.begin())["state"]
    canaries = {
        "error_description": '<svg onload="canary">',
        "error_uri": "javascript:canary",
        "canary": "\r\nSet-Cookie: canary=1",
    }

    for given in ({"error": error, "state": state}, {"error": "canary", "state": "canary"}):
        page = ada.get(callback(**given, **canaries))

        assert "canary" not in page.text
        assert "canary" not in str(page.headers)
    assert "canary" not in caplog.text


@pytest.mark.usefixtures("katana_is_not_asked")
@pytest.mark.one_database
@pytest.mark.parametrize("iss", ["https://evil.example", "https://login.example/", "HTTPS://x"])
def test_an_answer_of_another_issuer_is_refused(
    new_app: MakeApp, sandbox: Sandbox, iss: str
) -> None:
    """S-13: where the issuer is configured, an `iss` must be that one byte for byte."""
    app = new_app(KATANA_ISSUER="https://login.example")
    ada = Maker(ClientBrowser(app.test_client()), sandbox)
    ada.sign_up()
    answer = sandbox.approve(ada.begin())

    page = ada.return_with(Callback(f"{answer.url}&{urlencode({'iss': iss})}"))

    assert page.status == 400
    assert USED_UP in page.text


@pytest.mark.usefixtures("katana_is_not_asked")
@pytest.mark.one_database
def test_only_get_and_post_reach_the_callback(app: Flask, client: FlaskClient, ada: Maker) -> None:
    """S-18: a HEAD request looks at the page and uses nothing up."""
    path = callback(code="c", state=query(ada.begin())["state"])

    for method in ("HEAD", "PUT", "DELETE", "PATCH", "TRACE"):
        assert client.open(path, method=method).status_code == 405, method

    assert attempts(app) == 1


@pytest.mark.usefixtures("katana_is_not_asked")
@pytest.mark.one_database
def test_junk_is_throttled_for_who_sends_it(app: Flask, ada: Maker) -> None:
    """S-22: many made-up callbacks meet a limit, and stop nobody who is signed in."""
    stranger = app.test_client()

    statuses = [stranger.get(callback(code="c", state=f"s{n}")).status_code for n in range(122)]

    assert statuses == [401] * 120 + [429] * 2
    assert ada.get(callback(error="access_denied", state=query(ada.begin())["state"])).status == 200


@pytest.mark.one_database
def test_an_issuer_that_is_ours_or_not_named_is_taken(new_app: MakeApp, sandbox: Sandbox) -> None:
    """S-13: `iss` is checked if given."""
    app = new_app(KATANA_ISSUER="https://login.example")
    ada = Maker(ClientBrowser(app.test_client()), sandbox)
    ada.sign_up()

    for suffix in ("", "&iss=https%3A%2F%2Flogin.example"):
        answer = sandbox.approve(ada.begin())

        assert ALDER in ada.return_with(Callback(answer.url + suffix)).text


@pytest.mark.one_database
def test_the_callback_leaves_a_clean_address(ada: Maker, sandbox: Sandbox) -> None:
    """S-19, S-20: it shows nothing itself, and its URL goes no further."""
    page = ada.browser.send("GET", sandbox.approve(ada.begin()).url)

    assert (page.status, page.location, page.text) == (303, "/dashboard", "")
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"


def test_a_repeated_callback_leads_to_the_dashboard(ada: Maker, sandbox: Sandbox) -> None:
    """S-12: reloading exchanges nothing twice and frightens nobody who is connected."""
    answer = sandbox.approve(ada.begin())
    ada.return_with(answer)

    page = ada.browser.send("GET", answer.url)

    assert (page.status, page.location) == (303, "/dashboard")
    assert len(sandbox.ledger().of("exchange")) == 1


def test_a_cookie_from_before_makes_no_state_good_again(
    client: FlaskClient, ada: Maker, sandbox: Sandbox
) -> None:
    """S-04: what is used up is used up in the database, whatever the browser puts back."""
    answer = sandbox.approve(ada.begin())
    kept = client.get_cookie("session", domain="localhost")
    assert kept
    ada.return_with(answer)
    ada.disconnect()

    client.set_cookie("session", kept.value)

    assert ada.browser.send("GET", answer.url).status == 400
    assert len(sandbox.ledger().of("exchange")) == 1


def test_twenty_callbacks_at_once_are_one_exchange(
    served: Served, served_maker: Maker, sandbox: Sandbox
) -> None:
    """S-04: over two worker processes, one attempt is exchanged once."""
    served_maker.sign_up()
    answer = sandbox.approve(served_maker.begin())
    cookies = served_maker.browser._http.cookies.get_dict()  # type: ignore[attr-defined]

    def come_back(_: int) -> int:
        url = answer.url
        return requests.get(url, cookies=cookies, allow_redirects=False, timeout=30).status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(come_back, range(20)))

    assert len(sandbox.ledger().of("exchange")) == 1
    assert set(statuses) <= {303, 400}
    assert ALDER in served_maker.dashboard().text


def test_two_browsers_can_connect_at_once(new_served_maker: MakeMaker, sandbox: Sandbox) -> None:
    """S-46: two first connections of one user in the same moment end as one that works."""
    one, two = new_served_maker("ada"), new_served_maker("ada")
    one.sign_up()
    two.sign_in()
    answers = [(maker, sandbox.approve(maker.begin())) for maker in (one, two)]

    with ThreadPoolExecutor(2) as pool:
        pages = list(pool.map(lambda pair: pair[0].return_with(pair[1]), answers))

    assert [page.status for page in pages] == [200, 200]
    assert ALDER in one.dashboard().text


@pytest.mark.one_database
def test_a_post_becomes_a_get(app: Flask, ada: Maker, sandbox: Sandbox) -> None:
    """S-18: it needs no cookie, passes the four parameters on, and does nothing else."""
    sandbox.rules(callback_method="post")
    answer = sandbox.approve(ada.begin())
    assert answer.form

    posted = app.test_client().post("/katana/callback", data=answer.form | {"other": "x"})

    assert posted.status_code == 303
    assert urlsplit(posted.location).path == "/katana/callback"
    assert query(posted.location) == answer.form
    assert "Set-Cookie" not in posted.headers
    assert not sandbox.ledger().of("exchange")
    page = ada.return_with(Callback(posted.location))
    assert f"Connected to {ALDER}." in page.text


@pytest.mark.one_database
def test_a_post_can_tell_of_a_refusal(ada: Maker, sandbox: Sandbox) -> None:
    """S-16: Cancel, posted, is the same calm page."""
    sandbox.rules(callback_method="post")

    page = ada.connect(decision="cancel")

    assert page.status == 200
    assert "You did not connect" in page.text


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("fault", "status", "title"),
    [
        ({"fault": "drop_before"}, 502, "Katana&#39;s answer did not arrive"),
        ({"fault": "lose_answer"}, 502, "Katana&#39;s answer did not arrive"),
        ({"fault": "status", "status": 503}, 502, "Katana&#39;s answer did not arrive"),
        ({"fault": "status", "status": 429}, 503, "Katana is busy"),
        ({"fault": "invalid_grant"}, 400, "Katana did not accept the approval"),
        ({"fault": "body", "text": "<html>"}, 502, "Katana&#39;s answer did not arrive"),
        ({"fault": "body", "text": "[]"}, 502, "Katana&#39;s answer did not arrive"),
        ({"fault": "redirect"}, 502, "Katana&#39;s answer did not arrive"),
        ({"fault": "omit", "fields": ["access_token"]}, 502, "Katana&#39;s answer did not"),
        ({"fault": "omit", "fields": ["refresh_token"]}, 502, "This app is not set up right"),
    ],
)
def test_an_exchange_that_fails_says_so(
    app: Flask,
    ada: Maker,
    sandbox: Sandbox,
    fault: dict[str, object],
    status: int,
    title: str,
) -> None:
    """S-33, S-81: the page tells, and what was there before is there still."""
    ada.connect()
    before = connection(app)
    sandbox.fault("exchange", **fault)  # type: ignore[arg-type]

    page = ada.connect(factory=WICK)

    assert page.status == status
    assert title in page.text
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert connection(app) == before
    assert ALDER in ada.dashboard().text


@pytest.mark.one_database
def test_katana_gone_says_so(new_app: MakeApp, sandbox: Sandbox) -> None:
    """S-81: where nothing listens, nothing was sent."""
    nowhere = {"KATANA_ACCESS_TOKEN_URL": "http://127.0.0.1:9/oauth/token"}
    ada = Maker(ClientBrowser(new_app(**nowhere).test_client()), sandbox)
    ada.sign_up()

    page = ada.connect()

    assert page.status == 503
    assert "Katana cannot be reached" in page.text
    assert page.headers["Retry-After"] == "60"


@pytest.mark.one_database
def test_our_own_wrong_secret_is_nobody_elses_fault(
    new_app: MakeApp, environ: dict[str, str], sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """S-33: the page says whose fault it is, the log says why, and neither tells the secret."""
    secret = "wrong-" + environ["KATANA_CLIENT_SECRET"]
    app = new_app(KATANA_CLIENT_SECRET=secret)
    ada = Maker(ClientBrowser(app.test_client()), sandbox)
    ada.sign_up()

    page = ada.connect()

    assert page.status == 502
    assert "This app is not set up right" in page.text
    assert "ClientRefused: Katana&#39;s login" not in page.text
    assert any(record.levelno == logging.ERROR for record in caplog.records)
    assert secret not in caplog.text + page.text


@pytest.mark.one_database
def test_a_name_that_cannot_be_read_costs_nothing(ada: Maker, sandbox: Sandbox) -> None:
    """The connection stands before its name is asked for; the dashboard asks again."""
    sandbox.fault("api", "status", status=500)

    assert "Connected to Katana." in ada.connect().text
    assert ALDER in ada.dashboard().text
