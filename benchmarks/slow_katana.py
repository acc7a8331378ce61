"""How long paths without Katana take while its API or token endpoint is slow or fails."""

import http.client
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import cycle, product
from multiprocessing import get_context
from urllib.parse import urlsplit

from flask import Flask, session
from sqlalchemy import select, update

from app.accounts import sessions
from app.accounts.models import User
from app.connections import current
from app.connections.models import Connection
from app.database.clock import SystemClock
from app.database.db import db
from benchmarks import databases
from benchmarks.measuring import percentile
from benchmarks.question import Task
from benchmarks.results import Aim, Answer, Table
from benchmarks.web import THREADS, WORKERS, served
from tests.support.crowds import crowd
from tests.support.servers import listening
from tests.support.wire import Peer, Script, Wire, wire

PARTS = {"API": "KATANA_API_BASE_URL", "token endpoint": "KATANA_ACCESS_TOKEN_URL"}
PATHS = ("/healthz", "/sign-in")
HOUR_SECONDS = 3600.0
AIM_SECONDS = 1.0
PATIENCE_SECONDS = 60
READS_SECONDS = 1.0  # between two loads by one user


TOKENS = b'{"access_token": "a", "refresh_token": "r", "token_type": "Bearer", "expires_in": 3600}'


def hang(peer: Peer) -> None:
    """Never respond."""
    peer.hear()
    peer.wait()


def drip(peer: Peer) -> None:
    """Start a response that never ends."""
    peer.hear()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    peer.drip(b" " * 100_000, 0.1)


def refuse(peer: Peer) -> None:
    """Close the connection."""
    peer.reset()


def answer(peer: Peer) -> None:
    """Respond at once, as the API or the token endpoint."""
    heard = peer.hear()
    body = TOKENS if heard.method == "POST" else b'{"data": []}'
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    peer.send(f"{head}\r\nConnection: close\r\n\r\n".encode() + body)
    peer.finish()


TROUBLES: Mapping[str, Script] = {
    "answers": answer,
    "hangs": hang,
    "drips": drip,
    "refuses": refuse,
}
Latencies = dict[str, list[float]]


def measure(task: Task) -> Answer:
    """Seconds of each path, by the endpoint of Katana, its fault, and the number of users."""
    numbers, seconds = task.size(((8, 40, 200), 4.0), ((40,), 2.0))
    found = {}
    for n, (part, trouble, users) in enumerate(product(PARTS, TROUBLES, numbers)):
        with _app(task, f"slow{n}", part, users) as (app, katana, environ):
            cookies = _cookies(app)
            katana.script = TROUBLES[trouble]
            found[part, trouble, users] = _latencies(environ, cookies, katana, seconds)
    return _answer(found, seconds)


@contextmanager
def _app(
    task: Task, name: str, part: str, users: int
) -> Iterator[tuple[Flask, Wire, dict[str, str]]]:
    """The app with so many connected users. The given server replaces this `part` of Katana."""
    with wire(refuse) as katana:
        environ = databases.environ(task.databases.create("postgresql", name))
        environ[PARTS[part]] = f"{katana.url}/v1"
        app = databases.migrated(environ)
        with app.app_context():
            ids = crowd(app, current().vault, users)
            if part == "API":
                good = SystemClock().database_time(HOUR_SECONDS)
                connections = update(Connection).where(Connection.id.in_(ids))
                db.session.execute(connections.values(expires_at=good, renew_at=good))
                db.session.commit()
        yield app, katana, environ


def _cookies(app: Flask) -> list[str]:
    """A browser session for each user."""
    with app.app_context():
        ids = list(db.session.scalars(select(User.id)))
        db.session.commit()
    signer = app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]
    name = app.config["SESSION_COOKIE_NAME"]
    cookies = []
    for user_id in ids:
        with app.test_request_context():
            sessions.begin(user_id)
            cookies.append(f"{name}={signer.dumps(dict(session))}")
    with app.app_context():
        db.engine.dispose()
    return cookies


def _latencies(
    environ: Mapping[str, str], cookies: list[str], katana: Wire, seconds: float
) -> Latencies:
    """The latency of each path while every user keeps loading the dashboard."""
    over = threading.Event()
    with ExitStack() as stack:
        listener = stack.enter_context(listening())
        app = stack.enter_context(served("wsgi:app", "/healthz", environ, listener))
        users = [
            threading.Thread(target=_look_again_and_again, args=(app.url, cookie, over))
            for cookie in cookies
        ]
        # A separate process: here it would also wait for the users' threads.
        with ProcessPoolExecutor(1, get_context("spawn")) as elsewhere:
            elsewhere.submit(_is_ready).result()
            for user in users:
                user.start()
            took = elsewhere.submit(_ask_in_turn, app.url, seconds).result()
        over.set()
        katana.script = refuse
        katana.hang_up()
        for user in users:
            user.join()
    return took


def _is_ready() -> None:
    """Nothing: its return shows that the process has started."""


def _ask_in_turn(url: str, seconds: float) -> Latencies:
    """The latency of each path, measured in turn for `seconds`."""
    took: dict[str, list[float]] = {path: [] for path in PATHS}
    began = time.perf_counter()
    for path in cycle(PATHS):
        if time.perf_counter() > began + seconds and all(took.values()):
            break
        asked = time.perf_counter()
        _get(url, path)
        took[path].append(time.perf_counter() - asked)
    return took


def _look_again_and_again(url: str, cookie: str, over: threading.Event) -> None:
    while not over.is_set():
        with suppress(OSError, http.client.HTTPException):
            _get(url, "/dashboard", cookie)
        over.wait(READS_SECONDS)


def _get(url: str, path: str, cookie: str = "") -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
        connection.getresponse().read()
    finally:
        connection.close()


def _answer(found: Mapping[tuple[str, str, int], Latencies], seconds: float) -> Answer:
    slowest = max(max(times) for took in found.values() for times in took.values())
    return Answer(
        question="What does a slow Katana hold up?",
        how=(
            f"Under gunicorn with {WORKERS} workers of {THREADS} threads, on PostgreSQL. For "
            f"{seconds:.0f} s each of so many users loads the dashboard, and again 1 s after it "
            "came, while a real server in Katana's place accepts and says nothing, sends a byte "
            "every 100 ms, or ends the connection. Meanwhile one client asks for pages that need "
            "no Katana."
        ),
        tables=[
            Table(
                head=["", "users", *(f"{path}, {of}" for path in PATHS for of in ("p50", "max"))],
                rows=[
                    [
                        f"{part} {trouble}",
                        str(users),
                        *(
                            f"{of(took[path]) * 1000:.0f} ms"
                            for path in PATHS
                            for of in (_median, max)
                        ),
                    ]
                    for (part, trouble, users), took in found.items()
                ],
            )
        ],
        aims=[
            Aim(
                f"What needs no Katana answers within {AIM_SECONDS:.0f} s",
                f"at most {slowest:.2f} s",
                slowest <= AIM_SECONDS,
            )
        ],
    )


def _median(times: list[float]) -> float:
    return percentile(times, 0.5)
