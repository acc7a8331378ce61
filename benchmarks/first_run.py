"""How long it takes from `git clone` to a connected account on the sandbox."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.settings import config
from benchmarks.question import Task
from benchmarks.results import Answer, Bar, Chart, Table
from tests.support.actors import Maker, WireBrowser
from tests.support.sandbox import Sandbox

START_SECONDS = 240
STOP_SECONDS = 90
QUESTION = "How long does it take from `git clone` to a connected account?"
HOW = (
    "A clone of this repository into an empty folder, `make run` there, and then a user who signs "
    "up, presses Connect, and approves on the sandbox's page, driven over HTTP. Typed are three "
    "commands (`git clone`, `cd`, `make run`) and an e-mail address with a password. Both servers "
    "get ports that are free here. Installing takes most of it, and depends on the network."
)


@dataclass(frozen=True)
class FirstRun:
    """The time of each part, in seconds."""

    clone: float
    served: float
    connected: float


def measure(task: Task) -> Answer:
    """The seconds of each part, or why they were not measured."""
    if task.quick:
        return _left_out("it is left out of the quick run, for it takes half a minute")
    if not (config.ROOT / ".git").exists() or not shutil.which("git"):
        return _left_out("this is no git checkout")

    took = _first_run(task.folder / "clone")
    total = took.clone + took.served + took.connected
    parts = {
        "`git clone`": took.clone,
        "`make run`, until both are served": took.served,
        "sign up, connect, approve, see orders": took.connected,
    }
    return Answer(
        question=QUESTION,
        how=HOW,
        tables=[
            Table(
                head=["", "seconds"],
                rows=[
                    *([name, f"{seconds:.1f}"] for name, seconds in parts.items()),
                    ["**all**", f"**{total:.0f}**"],
                ],
                chart=Chart(
                    "first_run",
                    "From git clone to a connected account",
                    "s",
                    [Bar(name.replace("`", ""), s, True) for name, s in parts.items()],
                ),
            )
        ],
        in_short=(
            f"From `git clone` to a connected account on the sandbox: **{total:.0f} seconds** and "
            "three commands, everything installed on the way."
        ),
    )


def _first_run(folder: Path) -> FirstRun:
    began = time.perf_counter()
    subprocess.run(("git", "clone", "--quiet", str(config.ROOT), str(folder)), check=True)
    cloned = time.perf_counter()
    app_url, sandbox_url = f"http://localhost:{_free_port()}", f"http://127.0.0.1:{_free_port()}"
    _write_sandbox_env(folder / "instance", sandbox_url)
    with _running(folder, app_url):
        served = time.perf_counter()
        browser, sandbox = WireBrowser(app_url), Sandbox(sandbox_url, "", "")
        maker = Maker(browser, sandbox)
        maker.sign_up()
        page = maker.connect()
        connected = time.perf_counter()
        browser.close()
        sandbox.close()
        assert "SO-64" in page.text, f"no orders on the dashboard, status {page.status}"
    return FirstRun(cloned - began, served - cloned, connected - served)


@contextmanager
def _running(folder: Path, url: str) -> Iterator[None]:
    """`make run`, once it says that everything is served; stopped as by Ctrl-C."""
    ours = {"VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", *config.SETTINGS}
    environ = {name: value for name, value in os.environ.items() if name not in ours}
    environ["KATANA_REDIRECT_URI"] = f"{url}/katana/callback"
    log = folder.with_suffix(".log")
    with log.open("w") as output:
        process = subprocess.Popen(
            ("make", "run"),
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + START_SECONDS
        while "Ctrl-C" not in log.read_text():
            if process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"make run did not start:\n{log.read_text()}")
            time.sleep(0.05)
        yield
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(STOP_SECONDS)


def _write_sandbox_env(instance: Path, url: str) -> None:
    # `make run` would write this itself, with another address.
    instance.mkdir(mode=0o700)
    (instance / "sandbox.env").write_text(
        f"KATANA_CLIENT_ID=sandbox-{secrets.token_hex(8)}\n"
        f"KATANA_CLIENT_SECRET={secrets.token_hex(32)}\n"
        f"KATANA_AUTHORIZE_URL={url}/authorize\n"
        f"KATANA_ACCESS_TOKEN_URL={url}/oauth/token\n"
        f"KATANA_REVOKE_URL={url}/oauth/revoke\n"
        f"KATANA_API_BASE_URL={url}/v1\n"
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _left_out(why: str) -> Answer:
    return Answer(QUESTION, HOW, [], notes=[f"Not measured: {why}."])
