"""How fast the pages are, and how much memory a worker takes."""

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from requests import Response

from app import sync
from app.katana import transport
from benchmarks import databases
from benchmarks.measuring import Measured, in_turn
from benchmarks.question import Task
from benchmarks.results import Answer, Bar, Chart, Table
from benchmarks.token_endpoint import login
from benchmarks.web import THREADS, WORKERS, Load, load, served
from tests.support.actors import ClientBrowser, Maker, WireBrowser
from tests.support.sandbox import Sandbox, running_sandbox
from tests.support.servers import listening

API_SECONDS = 0.02
API_REQUESTS = 4  # per dashboard, in sequence
CLIENTS = 16
COPIES = "bea"  # the user who has a copy
BARE_PAGE, STARTER = "benchmarks.peers.bare:page()", "benchmarks.peers.bare:starter()"
LANDING, BARE = "this app's first page", "bare Flask page"
LIVE, COPIED = "this app's dashboard, live", "this app's dashboard, from the copy"
ORDERS = "this app's list of orders, from the copy"


@dataclass(frozen=True)
class Asked:
    """One request to Katana: its response, and its duration."""

    response: Response
    seconds: float


def measure(task: Task) -> Answer:
    """Requests per second, latency, the callback's own time, start and memory of a worker."""
    with listening() as listener, ExitStack() as stack:
        redirect_uri = f"http://localhost:{listener.getsockname()[1]}/katana/callback"
        sandbox = stack.enter_context(running_sandbox(redirect_uri))
        sandbox.rules(access_token_seconds=86400, requests_per_minute=100_000)
        url = task.databases.create("postgresql", "pages")
        environ = databases.environ(url) | sandbox.settings()
        environ["KATANA_REDIRECT_URI"] = redirect_uri
        app = databases.migrated(environ)
        maker = Maker(ClientBrowser(app.test_client()), sandbox)
        maker.sign_up()
        _copy(Maker(ClientBrowser(app.test_client()), sandbox, COPIES), app)
        callbacks = _callbacks(maker, task.size(15, 3))
        answers = _recorded(maker, task.folder)
        api = stack.enter_context(login(0, api_seconds=API_SECONDS, api=answers))
        environ["KATANA_API_BASE_URL"] = f"{api.url}/v1"
        loads = _loads(task, environ, listener, sandbox)
        weights = _weights(task, environ)
    return _answer(loads, callbacks, weights)


def _copy(maker: Maker, app: Flask) -> None:
    """Read a user's orders and stock into the copy, as a worker does."""
    maker.sign_up()
    maker.connect()
    parts: sync.Sync = app.extensions["sync"]
    with app.app_context():
        while due := parts.cursors.due(9):
            parts.reading.work(*due[0], stopped=lambda: False)


def _callbacks(maker: Maker, number: int) -> Measured:
    """The duration of a callback in seconds, without its requests to Katana."""
    with _noting() as asked:
        return Measured(tuple(_callback(maker, asked) for _ in range(number)))


def _callback(maker: Maker, asked: list[Asked]) -> float:
    callback = maker.sandbox.approve(maker.begin())
    asked.clear()
    began = time.perf_counter()
    page = maker.browser.send("GET", callback.url)
    took = time.perf_counter() - began
    assert page.status == 303
    assert len(asked) == 2, "a callback exchanges the code and asks for the factory's name"
    return took - sum(one.seconds for one in asked)


def _recorded(maker: Maker, folder: Path) -> Path:
    """The sandbox's API responses for a dashboard, as a file: path and JSON."""
    with _noting() as asked:
        maker.dashboard()
    answers = {urlsplit(one.response.url).path: one.response.json() for one in asked}
    assert len(answers) == API_REQUESTS
    (folder / "api.json").write_text(json.dumps(answers))
    return folder / "api.json"


@contextmanager
def _noting() -> Iterator[list[Asked]]:
    """The app's requests to Katana within the context."""
    asked: list[Asked] = []
    send = transport._DeadlineAdapter.send

    def noted(*args: Any, **kwargs: Any) -> Response:
        began = time.perf_counter()
        response = send(*args, **kwargs)
        asked.append(Asked(response, time.perf_counter() - began))
        return response

    transport._DeadlineAdapter.send = noted  # type: ignore[method-assign]
    try:
        yield asked
    finally:
        transport._DeadlineAdapter.send = send  # type: ignore[method-assign]


def _loads(
    task: Task, environ: Mapping[str, str], listener: socket.socket, sandbox: Sandbox
) -> dict[str, list[Load]]:
    seconds, rounds = task.size((4, 5), (1, 1))
    with (
        listening() as other,
        served("wsgi:app", "/", environ, listener) as ours,
        served(BARE_PAGE, "/", {}, other) as bare,
    ):
        cookie, copies = (_signed_in(ours.url, sandbox, name) for name in ("ada", COPIES))
        ask = partial(load, seconds=seconds, clients=CLIENTS)
        contenders: dict[str, Callable[[], Load]] = {
            BARE: lambda: ask(bare.url, "/", holds=b"Hello"),
            LANDING: lambda: ask(ours.url, "/", holds=b"Katana"),
            LIVE: lambda: ask(ours.url, "/dashboard", holds=b"SO-64", cookie=cookie),
            COPIED: lambda: ask(ours.url, "/dashboard", holds=b"SO-64", cookie=copies),
            ORDERS: lambda: ask(ours.url, "/orders", holds=b"SO-64", cookie=copies),
        }
        in_turn(contenders, rounds=1)  # to warm up
        return in_turn(contenders, rounds=rounds)


def _signed_in(url: str, sandbox: Sandbox, name: str) -> str:
    browser = WireBrowser(url)
    Maker(browser, sandbox, name).sign_in()
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies().items())
    browser.close()
    return cookie


def _weights(task: Task, environ: Mapping[str, str]) -> dict[str, tuple[Measured, Measured]]:
    """Seconds to the first response, and bytes of a worker, of this app and of a bare starter."""

    def weigh(target: str, path: str) -> tuple[float, int]:
        with listening() as listener, served(target, path, environ, listener, workers=1) as app:
            load(app.url, path, seconds=0.5, clients=THREADS, holds=b"<")
            return app.started_in, app.worker_memory()

    contenders = {
        "this app": partial(weigh, "wsgi:app", "/"),
        "bare Flask, SQLAlchemy and Authlib": partial(weigh, STARTER, "/"),
    }
    found = in_turn(contenders, rounds=task.size(5, 1))
    return {
        name: (Measured(tuple(s for s, _ in rounds)), Measured(tuple(m for _, m in rounds)))
        for name, rounds in found.items()
    }


def _answer(
    loads: Mapping[str, list[Load]],
    callbacks: Measured,
    weights: Mapping[str, tuple[Measured, Measured]],
) -> Answer:
    floor = API_REQUESTS * API_SECONDS
    return Answer(
        question="How fast are the pages, and how heavy is a worker?",
        how=(
            f"Under gunicorn with this repository's settings, {WORKERS} workers of {THREADS} "
            f"threads, on PostgreSQL; {CLIENTS} clients ask as fast as they are answered, from "
            f"the same machine. A live dashboard asks Katana's API {API_REQUESTS} times, one after "
            f"the other; what the sandbox's API answers comes after {API_SECONDS * 1000:.0f} ms, "
            f"so {floor * 1000:.0f} ms are not ours. From the copy it asks the database alone. The "
            "callback is timed without the two requests to Katana in it."
        ),
        tables=[
            Table(
                head=["", "pages a second", "middle half", "p50", "p99"],
                rows=[_row(name, rounds) for name, rounds in loads.items()],
                chart=Chart(
                    "pages",
                    "Pages a second",
                    "/s",
                    [
                        Bar(name, _per_second(rounds).median, name != BARE)
                        for name, rounds in loads.items()
                    ],
                ),
            ),
            Table(
                title="A worker",
                head=["", "first answer after", "memory"],
                rows=[
                    [name, f"{start.median:.2f} s", f"{memory.median / 2**20:.0f} MB"]
                    for name, (start, memory) in weights.items()
                ],
                chart=Chart(
                    "worker",
                    "Memory of a worker",
                    "MB",
                    [
                        Bar(name, memory.median / 2**20, name == "this app")
                        for name, (_, memory) in weights.items()
                    ],
                ),
            ),
        ],
        notes=[
            f"The callback's own time is {callbacks.median * 1000:.1f} ms "
            f"({' to '.join(f'{end * 1000:.1f}' for end in callbacks.spread)} ms): state consumed, "
            "answer checked, tokens sealed and committed, in the test client.",
        ],
    )


def _row(name: str, rounds: list[Load]) -> list[str]:
    per_second = _per_second(rounds)
    return [
        name,
        f"{per_second.median:,.0f}",
        " to ".join(f"{end:,.0f}" for end in per_second.spread),
        *(
            f"{Measured(tuple(values)).median * 1000:.0f} ms"
            for values in ([r.p50 for r in rounds], [r.p99 for r in rounds])
        ),
    ]


def _per_second(rounds: list[Load]) -> Measured:
    return Measured(tuple(round_.per_second for round_ in rounds))
