"""`make serve`, the production command: one database, several servers, restarts in full flight."""

import os
import re
import secrets
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

import psutil
import pytest
import requests

from tests.support.actors import LIVE, Maker, WireBrowser
from tests.support.clones import Clone
from tests.support.pages import Page
from tests.support.postgres import Postgres
from tests.support.sandbox import TIMEOUT, Sandbox
from tests.support.servers import GUNICORN, MAKE_SERVE, STOP_SECONDS, Served, gunicorn, listening

MAKERS = ("ada", "bea", "cai")
TABS = 2  # of each maker


@pytest.fixture
def empty_database(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> str:
    """A database that nobody has migrated, on the same server as the other."""
    if database_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'empty.db'}"

    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.create(f"empty_{secrets.token_hex(6)}")


@pytest.fixture
def second_listener() -> Iterator[socket.socket]:
    """Where the second server of the same app listens."""
    with listening() as listener:
        yield listener


class Storm:
    """Makers who load their dashboards in many tabs, at one server after the other."""

    def __init__(self, makers: list[Maker], urls: list[str]) -> None:
        self.pages: list[Page] = []
        self._makers, self._urls = makers, urls
        self._over = threading.Event()
        self._seen = threading.Condition()

    def __enter__(self) -> "Storm":
        self._threads = ThreadPoolExecutor(len(self._makers) * TABS)
        self._tabs = [self._threads.submit(self._look, maker) for maker in self._makers * TABS]
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._threads.shutdown()
        for tab in self._tabs:
            tab.result()

    def go_on(self) -> None:
        """Return when a few pages more have come in every tab, on average."""
        with self._seen:
            until = len(self.pages) + 3 * len(self._tabs)
            assert self._seen.wait_for(lambda: len(self.pages) >= until, timeout=300)

    def _look(self, maker: Maker) -> None:
        for url in cycle(self._urls):
            if self._over.is_set():
                return
            try:
                page = maker.browser.send("GET", f"{url}/dashboard")
            except requests.ConnectionError:
                continue  # a kept connection whose server has ended: a browser asks again
            with self._seen:
                self.pages.append(page)
                self._seen.notify_all()


@pytest.mark.slow
@pytest.mark.both_databases
def test_restarts_in_full_flight_lose_nothing(
    environ: dict[str, str],
    empty_database: str,
    sandbox: Sandbox,
    listener: socket.socket,
    second_listener: socket.socket,
    tmp_path: Path,
) -> None:
    """R-19: two servers on one database, reloaded, upgraded, restarted while tokens are renewed.

    `make serve` migrates the database first. Every grant lives on, and no token came twice.
    """
    environ = environ | {"DATABASE_URL": empty_database}
    with ExitStack() as stack:
        first = start(stack, environ, listener, tmp_path / "first.log")
        second = start(stack, environ, second_listener, tmp_path / "second.log")
        sandbox.rules(access_token_seconds=1, requests_per_minute=100_000)
        sandbox.fault("refresh", "slow", seconds=0.5, times=0)  # some are always under way
        makers = [connected(first, sandbox, name) for name in MAKERS]

        with Storm(makers, [first.url, second.url]) as storm:
            storm.go_on()
            reload(first)
            storm.go_on()
            assert second.stop() == -signal.SIGTERM  # of make; what it started has ended before
            assert second.log().count("Shutting down: Master") == 1
            third = start(stack, environ, second_listener, tmp_path / "third.log", by_name=True)
            storm.go_on()
            upgrade(stack, third)
            storm.go_on()

        sandbox.rules(access_token_seconds=60)
        assert all(LIVE in maker.dashboard().text for maker in makers)

    assert {page.status for page in storm.pages} <= {200, 503}
    ledger = sandbox.ledger()
    assert [family.state for family in ledger.families] == ["live"] * len(MAKERS)
    tokens = [token for family in ledger.families for token in family.refresh_tokens]
    assert len(tokens) > 2 * len(MAKERS)
    assert not any(token.presented > 1 for token in tokens)


def start(
    stack: ExitStack,
    environ: dict[str, str],
    listener: socket.socket,
    log_file: Path,
    *,
    by_name: bool = False,
) -> Served:
    """One more server by the production command."""
    server = gunicorn(environ, listener, log_file, command=MAKE_SERVE, by_name=by_name)
    return stack.enter_context(server)


def connected(served: Served, sandbox: Sandbox, name: str) -> Maker:
    """Somebody who has connected at this server."""
    maker = Maker(WireBrowser(served.url), sandbox, name)
    maker.sign_up()
    maker.connect()
    return maker


def reload(served: Served) -> None:
    """Let it take new workers in place of the old, which finish what is under way."""
    before = served.master().children()
    served.master().send_signal(signal.SIGHUP)
    gone, alive = psutil.wait_procs(before, timeout=STOP_SECONDS)
    assert len(gone) == 2, alive


def upgrade(stack: ExitStack, served: Served) -> None:
    """Let a successor take over at the same socket, and the old one finish and end."""
    old = served.master()
    workers = set(old.children())
    booted = served.log().count("Booting worker")
    old.send_signal(signal.SIGUSR2)
    served.wait_until_said("Booting worker", times=booted + 2)
    (successor,) = set(old.children()) - workers
    stack.callback(end, successor)
    assert served.stop() == -signal.SIGTERM


def end(process: psutil.Process) -> None:
    """Ask it to end, and see it gone."""
    process.terminate()
    assert psutil.wait_procs([process], timeout=STOP_SECONDS)[0]


@pytest.mark.slow
@pytest.mark.one_database
def test_a_reload_that_would_not_start_is_refused(
    clone: Clone, environ: dict[str, str], listener: socket.socket, tmp_path: Path
) -> None:
    """Wrong settings end nothing: the log has a sentence for each, and the workers serve on."""
    key = environ.pop("SECRET_KEY")
    clone.env.write_text(f"SECRET_KEY={key}\n")
    with gunicorn(
        environ, listener, tmp_path / "served.log", workers=1, command=MAKE_SERVE, folder=clone.path
    ) as served:
        before = served.master().children()
        clone.env.write_text("SECRET_KEY=hunter2\n")
        served.master().send_signal(signal.SIGHUP)
        served.wait_until_said("Not reloaded")

        assert "SECRET_KEY is too easy to guess" in served.log()
        assert "hunter2" not in served.log()
        assert served.master().children() == before
        assert requests.get(f"{served.url}/readyz", timeout=TIMEOUT).status_code == 200

        clone.env.write_text(f"SECRET_KEY={key}\n")
        served.master().send_signal(signal.SIGHUP)
        assert psutil.wait_procs(before, timeout=STOP_SECONDS)[0] == before
        assert requests.get(f"{served.url}/readyz", timeout=TIMEOUT).status_code == 200


@pytest.mark.short_form(1)
@pytest.mark.parametrize("command", [MAKE_SERVE, GUNICORN], ids=["make serve", "gunicorn"])
def test_what_is_not_set_keeps_it_from_starting(command: tuple[str, ...], clone: Clone) -> None:
    """All that is wrong is told at once, without a traceback, and it is not tried for ever."""
    environ = {"PATH": os.environ["PATH"], "SECRET_KEY": "hunter2", "PROXY_HOPS": "many"}
    environ["GUNICORN_BIND"] = "127.0.0.1:0"  # it binds before it reads what the app needs
    environ["GUNICORN_WORKERS"] = "1"  # where two end at once, gunicorn itself may stumble over it

    told = subprocess.run(
        command, cwd=clone.path, env=environ, capture_output=True, text=True, timeout=STOP_SECONDS
    )

    assert told.returncode > 0
    assert "  - KATANA_CLIENT_ID is not set.\n" in told.stderr
    assert "  - PROXY_HOPS must be a whole number" in told.stderr
    assert "Traceback" not in told.stderr
    assert "hunter2" not in told.stderr


def test_gunicorn_is_set_up_by_the_environment_over_the_file(clone: Clone) -> None:
    """As every other setting: .env counts too, and what is empty counts as not set."""
    clone.env.write_text("GUNICORN_BIND=127.0.0.1:8123\nGUNICORN_WORKERS=3\nGUNICORN_THREADS=\n")
    environ = {"PATH": os.environ["PATH"], "GUNICORN_BIND": "", "GUNICORN_WORKERS": "5"}

    shown = subprocess.run(
        (*GUNICORN, "--print-config"), cwd=clone.path, env=environ, capture_output=True, text=True
    ).stdout

    for name, value in (("bind", "['127.0.0.1:8123']"), ("workers", "5"), ("threads", "8")):
        assert re.search(rf"(?m)^{name} += {re.escape(value)}$", shown), shown


@pytest.mark.slow
def test_the_sandbox_of_an_earlier_run_is_not_served(clone: Clone) -> None:
    """Without a client id of Katana's it refuses, though `make run` has left one of the sandbox."""
    clone.sandbox_env.parent.mkdir()
    clone.sandbox_env.write_text("KATANA_CLIENT_ID=sandbox-1\n")
    clone.start("--env-only")

    told = subprocess.run(
        MAKE_SERVE, cwd=clone.path, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True
    )

    assert "KATANA_CLIENT_ID is not set" in told.stderr
