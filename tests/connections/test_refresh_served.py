"""Refreshing as it runs: users with browsers, the app under gunicorn, several workers."""

import os
import signal
import socket
import sqlite3
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from flask import Flask

from tests.support.actors import LIVE, Maker, WireBrowser
from tests.support.locks import locked
from tests.support.pages import Page
from tests.support.rows import generation
from tests.support.sandbox import Sandbox
from tests.support.servers import STOP_SECONDS, Served, gunicorn
from tests.support.until import until

pytestmark = pytest.mark.own_stage

AT_ONCE = 12


@pytest.fixture
def ada(served_maker: Maker) -> Maker:
    """A user whose Katana is connected."""
    served_maker.sign_up()
    served_maker.connect()
    return served_maker


def look_all_at_once(maker: Maker) -> list[Page]:
    """Load the dashboard in many tabs."""
    with ThreadPoolExecutor(AT_ONCE) as tabs:
        return list(tabs.map(lambda _: maker.dashboard(), range(AT_ONCE)))


def assert_alive(sandbox: Sandbox, refreshes: int) -> None:
    """The one grant lives, after so many refreshes."""
    ledger = sandbox.ledger()
    assert [family.state for family in ledger.families] == ["live"]
    assert len(ledger.of("refresh")) == refreshes
    assert not any(token.presented > 1 for token in ledger.families[0].refresh_tokens)


def test_many_tabs_at_expiry_send_one_refresh(ada: Maker, sandbox: Sandbox) -> None:
    """R-1: whoever comes first renews, and every page shows data."""
    sandbox.rules(latency_seconds=0.05, requests_per_minute=1000)
    for refreshes in (1, 2):
        sandbox.expire()

        pages = look_all_at_once(ada)

        assert {page.status for page in pages} == {200}
        assert all(LIVE in page.text for page in pages)
        assert_alive(sandbox, refreshes)


def look(maker: Maker) -> None:
    """Load the dashboard, or see the server go."""
    with suppress(requests.ConnectionError):
        maker.dashboard()


def stored(database: sqlite3.Connection) -> tuple[int, str]:
    """The one connection's generation, and how far its refresh has come."""
    columns = "generation, iif(sent_at IS NULL, 'saved', 'sent')"
    row: tuple[int, str] = database.execute(f"SELECT {columns} FROM connections").fetchone()
    return row


@pytest.mark.short_form(1)
@pytest.mark.one_database
@pytest.mark.parametrize(
    ("number", "everybody"),
    [(signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGINT, True)],
    ids=["a supervisor", "systemd", "Ctrl-C"],
)
def test_a_worker_asked_to_stop_saves_its_answer_first(
    ada: Maker,
    sandbox: Sandbox,
    served: Served,
    database_url: str,
    number: signal.Signals,
    everybody: bool,
) -> None:
    """R-19: the database is locked, gunicorn is told to end, and the token is still saved."""
    sandbox.expire()
    sandbox.fault("refresh", "slow", seconds=20)
    tab = threading.Thread(target=look, args=(ada,))
    tab.start()
    sandbox.wait_until_asked("refresh")
    with locked(database_url) as writing:
        sandbox.let_go()
        until(lambda: sandbox.ledger().of("refresh")[-1].status is not None)
        workers = served.master().children() if everybody else []
        for process in (*workers, served.process):
            process.send_signal(number)
        served.wait_until_said("Worker exiting")  # the idle one ...
        time.sleep(0.5)  # ... and the busy one, told at the same moment, has heard as well
        assert stored(writing) == (1, "sent")

    assert served.process.wait(STOP_SECONDS) == 0
    tab.join()
    assert_alive(sandbox, 1)
    with locked(database_url) as reading:
        assert stored(reading) == (2, "saved")


@pytest.mark.slow
@pytest.mark.one_database
@pytest.mark.parametrize("times", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_workers_told_to_end_in_the_midst_of_ending_still_end(
    environ: dict[str, str], listener: socket.socket, tmp_path: Path, times: int
) -> None:
    """R-19: Ctrl-C reaches a worker by two ways; none hangs where the second catches the first."""
    with gunicorn(environ, listener, tmp_path / "gunicorn.log", workers=8) as served:
        workers = served.master().children()
        for number in (signal.SIGINT, signal.SIGQUIT) * times:
            for worker in workers:
                with suppress(ProcessLookupError):
                    os.kill(worker.pid, number)
        _, late = psutil.wait_procs(workers, timeout=10)
        for worker in late:
            worker.terminate()  # who was not up yet has not heard the others

        _, hung = psutil.wait_procs(late, timeout=30)
        assert not hung


def test_a_tab_that_is_closed_leaves_the_refresh_to_its_end(
    ada: Maker, sandbox: Sandbox, served: Served, app: Flask
) -> None:
    """R-22: the user is gone while Katana answers; what it answers is saved all the same."""
    sandbox.expire()
    sandbox.fault("refresh", "slow", seconds=20)
    url = urlsplit(served.url)
    assert isinstance(ada.browser, WireBrowser)
    cookies = "; ".join(f"{name}={value}" for name, value in ada.browser.cookies().items())
    tab = socket.create_connection((url.hostname, url.port))
    tab.sendall(
        f"GET /dashboard HTTP/1.1\r\nHost: {url.netloc}\r\nCookie: {cookies}\r\n\r\n".encode()
    )
    sandbox.wait_until_asked("refresh")
    # No goodbye: the server meets a reset, as where a phone's tab is thrown away.
    tab.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    tab.close()
    sandbox.let_go()

    until(lambda: generation(app) == 2)
    assert_alive(sandbox, 1)


@pytest.mark.slow
def test_workers_that_die_leave_the_grant_to_those_that_follow(
    ada: Maker, sandbox: Sandbox, served: Served
) -> None:
    """R-4: gunicorn's workers are killed; new ones go on with the same grant."""
    workers = psutil.Process(served.process.pid).children()
    for worker in workers:
        worker.kill()
    psutil.wait_procs(workers)
    sandbox.expire()

    assert LIVE in ada.dashboard().text
    assert_alive(sandbox, 1)
