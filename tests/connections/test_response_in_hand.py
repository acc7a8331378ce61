"""A served worker holds the only copy of a living token while its database will not take it."""

import socket
import threading
from pathlib import Path

import psutil
import pytest

from tests.support.actors import LIVE, Maker
from tests.support.outages import Outage, outage_of, own_database
from tests.support.pages import Page
from tests.support.postgres import Postgres
from tests.support.sandbox import Sandbox
from tests.support.servers import Served, gunicorn

pytestmark = pytest.mark.own_stage

NOT_SAVED = "not saved yet"


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated database, of PostgreSQL on that server."""
    return own_database(request, tmp_path)


@pytest.fixture
def outage(request: pytest.FixtureRequest, database_url: str) -> Outage:
    """Keeps the database from taking anything for as long as it is entered."""
    return outage_of(request, database_url)


class Tab:
    """A page that is being loaded, and what became of it; None where the server went."""

    def __init__(self, maker: Maker) -> None:
        self.page: Page | None = None
        self._maker = maker
        self._thread = threading.Thread(target=self._load)
        self._thread.start()

    def _load(self) -> None:
        try:
            self.page = self._maker.dashboard()
        except OSError:  # requests' errors too
            self.page = None

    def loaded(self) -> Page | None:
        """Wait until it has ended."""
        self._thread.join()
        return self.page


def refresh_under_way(maker: Maker, sandbox: Sandbox) -> Tab:
    """A page waits for a refresh, which Katana has got and does not answer yet."""
    maker.sign_up()
    maker.connect()
    sandbox.expire()
    sandbox.fault("refresh", "slow", seconds=40)
    tab = Tab(maker)
    sandbox.wait_until_asked("refresh")
    return tab


def kill(served: Served) -> None:
    """End the server and its workers by force, as for want of memory."""
    everybody = [*served.master().children(recursive=True), served.master(), served.process]
    for process in everybody:
        process.kill()
    psutil.wait_procs(everybody[:-1])
    served.process.wait()


def assert_alive(sandbox: Sandbox, refreshes: int) -> None:
    """One grant, of which no refresh token came twice."""
    ledger = sandbox.ledger()
    assert [family.state for family in ledger.families] == ["live"]
    assert len(ledger.of("refresh")) == refreshes
    assert not any(token.presented > 1 for token in ledger.families[0].refresh_tokens)


@pytest.mark.slow
def test_killed_while_the_database_is_away(
    served: Served,
    served_maker: Maker,
    sandbox: Sandbox,
    outage: Outage,
    environ: dict[str, str],
    listener: socket.socket,
    tmp_path: Path,
) -> None:
    """A2: SIGKILL to every process with a response in hand; the next start stores it.

    Of the same kind: a power cut, a container that is evicted, a machine that is out of memory.
    """
    tab = refresh_under_way(served_maker, sandbox)
    with outage():
        sandbox.let_go()
        served.wait_until_said(NOT_SAVED)
        kill(served)
        tab.loaded()

    # Each worker that starts, and each page, has the same file before it.
    with gunicorn(environ, listener, tmp_path / "again.log", workers=4) as again:
        tabs = [Tab(served_maker) for _ in range(6)]
        pages = [tab.loaded() for tab in tabs]
        assert all(page and LIVE in page.text for page in pages)
        assert "Traceback" not in again.log()
    assert_alive(sandbox, 2)  # the age of a staged access token is not known: it counts as expired


@pytest.mark.slow
@pytest.mark.one_database("postgresql")
def test_a_failover_between_claim_and_save(
    served: Served, served_maker: Maker, sandbox: Sandbox, server: Postgres
) -> None:
    """A1: the session that claimed only reads by now; a fresh one of a fresh pool saves at once."""
    tab = refresh_under_way(served_maker, sandbox)
    server.only_new_sessions_write("app")
    sandbox.let_go()

    page = tab.loaded()

    assert page
    assert LIVE in page.text
    assert served.log().count(NOT_SAVED) <= 1
    assert_alive(sandbox, 1)


@pytest.mark.slow
def test_a_database_that_is_away_for_longer_than_a_lease(
    served: Served, served_maker: Maker, sandbox: Sandbox, outage: Outage
) -> None:
    """4b: the saver tries on, and the first page after the outage leaves it the time to save."""
    tab = refresh_under_way(served_maker, sandbox)
    with outage():
        sandbox.let_go()
        served.wait_until_said(NOT_SAVED)
        over = threading.Event()
        over.wait(65)  # the lease of the holder runs out meanwhile; its end is the database's time

    pages = [served_maker.dashboard() for _ in range(3)]

    tab.loaded()
    assert LIVE in pages[-1].text
    assert_alive(sandbox, 2)  # the access token that was saved late was over by then
