"""A slow Katana holds only a part of the threads; what needs no Katana is served meanwhile.

The same kind: a server that accepts and says nothing, sends byte after byte, or refuses; the API,
the token endpoint at a refresh, at a callback, at a disconnect; one user with many tabs and many
users with one; gunicorn and the development server.
"""

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from flask import Flask
from sqlalchemy import update

from app.connections.models import Connection
from app.database.clock import SystemClock
from app.database.db import db
from app.pages.admission import MOST_WAITING, WAITING
from tests.conftest import MakeApp, MakeMaker
from tests.support.actors import LIVE, Maker, WireBrowser
from tests.support.pages import Page
from tests.support.sandbox import Callback, Sandbox
from tests.support.servers import gunicorn, serving
from tests.support.until import until
from tests.support.wire import Peer, Wire, answer, answering, wire

TABS = 40
WORKERS, THREADS = 2, 8
BUSY = "This app is busy"
TOKENS = {"access_token": "a-token", "refresh_token": "r-token", "expires_in": 3600}
Serve = Callable[..., Callable[[str], Maker]]


class Hanging:
    """A Katana in trouble; counts its callers, and those that stopped waiting for it."""

    def __init__(self, *, drips: bool = False) -> None:
        self.asked = 0
        self.given_up = 0
        self._drips = drips

    def __call__(self, peer: Peer) -> None:
        peer.hear()
        self.asked += 1
        try:
            if self._drips:
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                peer.drip(b" " * 100_000, 0.1)
            else:
                peer.wait()
        finally:
            self.given_up += 1


@pytest.fixture
def katana() -> Iterator[Wire]:
    """A part of Katana, which refuses each connection until a test has it do something else."""
    with wire(refuse) as katana:
        yield katana


def refuse(peer: Peer) -> None:
    """End the connection without a response."""
    peer.reset()


def end(katana: Wire) -> None:
    """End all waiting, of those who come later too."""
    katana.script = refuse
    katana.hang_up()


@pytest.fixture
def serve(
    environ: dict[str, str],
    new_app: MakeApp,
    listener: socket.socket,
    tmp_path: Path,
    sandbox: Sandbox,
) -> Iterator[Serve]:
    """Serves the app, and gives makers who reach it over the network."""
    with ExitStack() as stack:

        def served(*, development: bool = False, **changed: str) -> Callable[[str], Maker]:
            if development:
                url = stack.enter_context(serving(new_app(**changed)))
                url = url.replace("127.0.0.1", "localhost")
            else:
                log = tmp_path / "gunicorn.log"
                url = stack.enter_context(gunicorn(environ | changed, listener, log)).url

            def maker(name: str) -> Maker:
                browser = WireBrowser(url)
                stack.callback(browser.close)
                return Maker(browser, sandbox, name)

            return maker

        yield served


def connect(new_maker: MakeMaker, *names: str) -> None:
    """Let these connect, while all is well."""
    for name in names:
        maker = new_maker(name)
        maker.sign_up()
        maker.connect()


def expire(app: Flask, *names: str) -> None:
    """Let the access tokens of these be over."""
    over = SystemClock().database_time(-1)
    with app.app_context():
        for name in names:
            whose = f"(SELECT id FROM users WHERE email = '{name}@workshop.example')"
            connections = update(Connection).where(db.text(f"user_id = {whose}"))
            db.session.execute(connections.values(expires_at=over, renew_at=over))
        db.session.commit()


def here(callback: Callback) -> Callback:
    """The same at whichever port the app is served."""
    parts = urlsplit(callback.url)
    return Callback(f"{parts.path}?{parts.query}")


@contextmanager
def loading(makers: list[Maker]) -> Iterator[list["Future[Page]"]]:
    """Forty dashboards, being loaded by these makers."""
    with ThreadPoolExecutor(TABS) as pool:
        yield [pool.submit(makers[n % len(makers)].dashboard) for n in range(TABS)]


def served_so_far(pages: list["Future[Page]"]) -> list[Page]:
    """Those that are there already."""
    return [page.result() for page in pages if page.done()]


def assert_served_meanwhile(stranger: Maker, katana: Hanging) -> None:
    """What needs no Katana comes before the first caller has given up waiting for Katana."""
    assert stranger.get("/healthz").status == 200
    assert "Sign in" in stranger.get("/sign-in").text
    assert "Connect to Katana" in stranger.sign_up().text
    assert katana.given_up == 0
    assert katana.asked > 0


def assert_refused_kindly(page: Page) -> None:
    """A whole page, with words, and when to come back."""
    assert page.status == 503
    assert "Katana is slow to answer" in page.text
    assert 1 <= int(page.headers["Retry-After"]) <= 60


@pytest.mark.short_form(1)
@pytest.mark.parametrize(
    ("development", "drips"),
    [
        pytest.param(False, False, id="gunicorn, says nothing"),
        pytest.param(True, True, id="development server, drips"),
        pytest.param(False, True, id="gunicorn, drips", marks=pytest.mark.slow),
        pytest.param(True, False, id="development server, says nothing", marks=pytest.mark.slow),
    ],
)
def test_an_api_that_hangs_holds_a_part_of_the_threads(
    serve: Serve, new_maker: MakeMaker, katana: Wire, drips: bool, development: bool
) -> None:
    """Forty dashboards at once: a few wait, the others get a page that says so."""
    connect(new_maker, "ada")
    maker = serve(development=development, KATANA_API_BASE_URL=f"{katana.url}/v1")
    ada, stranger = maker("ada"), maker("grace")
    ada.sign_in()
    katana.script = hanging = Hanging(drips=drips)

    with loading([ada]) as pages:
        until(lambda: len(served_so_far(pages)) >= TABS - WORKERS * THREADS)
        assert_served_meanwhile(stranger, hanging)
        refused = served_so_far(pages)
        end(katana)

    for page in refused:
        assert_refused_kindly(page)


@pytest.mark.slow
@pytest.mark.parametrize("drips", [False, True], ids=["says nothing", "drips"])
def test_a_token_endpoint_that_hangs_holds_a_part_of_the_threads(
    serve: Serve, app: Flask, new_maker: MakeMaker, katana: Wire, drips: bool
) -> None:
    """Those whose token is over are refused; who has a good one sees live data."""
    names = ("ada", "joan", "mary", "edith")
    connect(new_maker, *names, "hopper")
    maker = serve(KATANA_ACCESS_TOKEN_URL=f"{katana.url}/oauth/token")
    makers, hopper, stranger = [maker(name) for name in names], maker("hopper"), maker("grace")
    for one in (*makers, hopper):
        one.sign_in()
    expire(app, *names)
    katana.script = hanging = Hanging(drips=drips)

    with loading(makers) as pages:
        until(lambda: len(served_so_far(pages)) >= TABS - WORKERS * THREADS)
        assert_served_meanwhile(stranger, hanging)
        assert LIVE in hopper.dashboard().text
        refused = served_so_far(pages)
        assert hanging.given_up == 0
        end(katana)

    for page in refused:
        assert_refused_kindly(page)


@pytest.mark.slow
@pytest.mark.one_database
@pytest.mark.parametrize("katana_is", ["the API", "the token endpoint"])
def test_one_that_refuses_holds_nobody(
    serve: Serve, app: Flask, new_maker: MakeMaker, katana: Wire, katana_is: str
) -> None:
    """A refused connection is a quick failure: every page is served, and says so."""
    connect(new_maker, "ada")
    setting = {
        "the API": {"KATANA_API_BASE_URL": f"{katana.url}/v1"},
        "the token endpoint": {"KATANA_ACCESS_TOKEN_URL": f"{katana.url}/oauth/token"},
    }
    maker = serve(**setting[katana_is])
    ada, stranger = maker("ada"), maker("grace")
    ada.sign_in()
    expire(app, *(["ada"] if katana_is == "the token endpoint" else []))

    with loading([ada]) as pages:
        assert stranger.get("/healthz").status == 200

    assert {page.result().status for page in pages} == {503}
    assert all("Retry-After" in page.result().headers for page in pages)


@pytest.mark.one_database
def test_a_callback_that_finds_no_place_can_be_loaded_again(
    serve: Serve, new_maker: MakeMaker, katana: Wire
) -> None:
    """The token endpoint hangs at the exchange: who does not wait has used up nothing."""
    maker = serve(development=True, KATANA_ACCESS_TOKEN_URL=f"{katana.url}/oauth/token")
    ada, joan, stranger = maker("ada"), maker("joan"), maker("grace")
    for one in (ada, joan):
        one.sign_up()
    katana.script = hanging = Hanging()
    callbacks = {one: here(one.sandbox.approve(one.begin())) for one in (ada, joan)}

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ada.return_with, callbacks[ada])
        until(lambda: hanging.asked)
        postponed = joan.return_with(callbacks[joan])
        assert_served_meanwhile(stranger, hanging)
        end(katana)
        assert waiting.result().status == 502

    assert_refused_kindly(postponed)
    assert "was not used yet" in postponed.text
    katana.script = answering(answer(json.dumps(TOKENS).encode()))
    page = joan.browser.send("GET", callbacks[joan].url)
    assert (page.status, page.location) == (303, "/dashboard")


@pytest.mark.slow
@pytest.mark.one_database
def test_disconnecting_never_waits_in_a_crowd(
    serve: Serve, new_maker: MakeMaker, katana: Wire
) -> None:
    """Revoking hangs for one: the next one's tokens are deleted at once, unconfirmed."""
    connect(new_maker, "ada", "joan")
    maker = serve(development=True, KATANA_REVOKE_URL=f"{katana.url}/oauth/revoke")
    ada, joan = maker("ada"), maker("joan")
    for one in (ada, joan):
        one.sign_in()
    katana.script = hanging = Hanging()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ada.disconnect)
        until(lambda: hanging.asked)
        assert "did not confirm" in joan.disconnect().text
        assert hanging.given_up == 0
        end(katana)
        assert "did not confirm" in waiting.result().text


@pytest.mark.slow
@pytest.mark.one_database
def test_a_crowd_of_dashboards_lets_others_pass(
    environ: dict[str, str],
    new_maker: MakeMaker,
    listener: socket.socket,
    katana: Wire,
    tmp_path: Path,
) -> None:
    """Where too many wait for a thread of a worker, dashboards are refused before they cost time.

    The same kind: a burst in the morning, with Katana well; a balancer that sends all to one host.
    """
    connect(new_maker, "ada")
    katana.script = Hanging()
    slow = environ | {"KATANA_API_BASE_URL": f"{katana.url}/v1", "GUNICORN_THREADS": "2"}
    with ExitStack() as stack:
        served = stack.enter_context(gunicorn(slow, listener, tmp_path / "g.log", workers=1))
        browser = WireBrowser(served.url)
        stack.callback(browser.close)
        ada = Maker(browser, new_maker().sandbox)
        ada.sign_in()

        with ThreadPoolExecutor(MOST_WAITING + TABS) as pool:
            tabs = [pool.submit(ada.dashboard) for _ in range(MOST_WAITING + TABS)]
            until(lambda: any(BUSY in page.text for page in served_so_far(tabs)))
            assert ada.get("/healthz").status == 200
        pages = [tab.result() for tab in tabs]

    refused = [page for page in pages if BUSY in page.text]
    assert {page.status for page in refused} == {503}
    assert {page.headers["Retry-After"] for page in refused} == {"5"}
    assert len(refused) < len(pages)


@pytest.mark.one_database
@pytest.mark.parametrize(("waiting", "status"), [(MOST_WAITING, 200), (MOST_WAITING + 1, 503)])
def test_only_what_may_ask_katana_gives_way(
    app: Flask, maker: Maker, waiting: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty may wait; more, and a dashboard is refused, while all other pages are served."""
    maker.sign_up()
    monkeypatch.setitem(app.extensions, WAITING, lambda: waiting)

    assert maker.get("/dashboard").status == status
    for path in ("/", "/healthz", "/readyz", "/account"):
        assert maker.get(path).status == 200


@pytest.mark.slow
@pytest.mark.one_database
def test_the_places_follow_the_threads_of_the_server(
    serve: Serve, new_maker: MakeMaker, katana: Wire
) -> None:
    """GUNICORN_THREADS=24, in the environment or in .env: nine requests to the API hang."""
    connect(new_maker, "ada")
    maker = serve(
        development=True,
        GUNICORN_THREADS="24",
        KATANA_API_BASE_URL=f"{katana.url}/v1",
    )
    ada = maker("ada")
    ada.sign_in()
    katana.script = hanging = Hanging()

    with loading([ada]) as pages:
        until(lambda: len(served_so_far(pages)) >= TABS - 24)
        until(lambda: hanging.asked == 9)
        end(katana)
