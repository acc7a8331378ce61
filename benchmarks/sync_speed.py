"""How fast the copy is: first pass, pass without changes, deliveries, changes, many accounts."""

import hmac
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256

import requests
from flask import Flask
from sqlalchemy import func, select, update

from app import sync
from app.database.db import db
from app.katana.client import PAGE_SIZE
from app.sync.models import SyncAccount, SyncCursor, Webhook, token_place
from benchmarks import databases
from benchmarks.measuring import percentile
from benchmarks.question import Task
from benchmarks.results import Aim, Answer, Table
from benchmarks.web import THREADS, WORKERS, served
from tests.support.actors import ClientBrowser, Maker, WireBrowser
from tests.support.commands import flask
from tests.support.connected import Connected
from tests.support.sandbox import Sandbox, running_sandbox
from tests.support.servers import listening
from tests.support.syncing import OnlyConnection, Syncing
from tests.support.until import until

LATENCY_SECONDS = 0.1  # of Katana's API
CLIENTS = 16
FACTORY, SMALL = "alder-and-spoke", "tallow-and-wick"
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class First:
    """The first pass."""

    orders: int
    requests: int
    seconds: float


@dataclass(frozen=True)
class Many:
    """The result of workers that read every connection once."""

    connections: int
    workers: int
    requests: int
    seconds: float


@dataclass(frozen=True)
class Bench:
    """The served app with one connected user, and its sandbox."""

    app: Flask
    sandbox: Sandbox
    environ: Mapping[str, str]
    url: str
    maker: Maker
    ada: Syncing

    def asked(self) -> int:
        """The number of requests to Katana's API so far."""
        return self.sandbox.ledger().totals["api"]


def measure(task: Task) -> Answer:
    """Run all measurements in turn, on one database."""
    orders, clients_for, changes, connections, workers = task.size(
        (10_000, 5.0, 30, 1_000, 4), (1_000, 1.0, 5, 40, 2)
    )
    with _bench(task) as bench:
        first = _first(bench, orders)
        unchanged = _unchanged(bench)
        deliveries = _deliveries(bench, clients_for)
        seen = _seen(bench, changes)
        many = _many(bench, connections, workers)
    return _answer(first, unchanged, deliveries, seen, many, clients_for)


@contextmanager
def _bench(task: Task) -> Iterator[Bench]:
    with ExitStack() as stack:
        listener = stack.enter_context(listening())
        redirect_uri = f"http://localhost:{listener.getsockname()[1]}/katana/callback"
        sandbox = stack.enter_context(running_sandbox(redirect_uri))
        sandbox.rules(access_token_seconds=86_400, requests_per_minute=100_000)
        environ = databases.environ(task.databases.create("postgresql", "sync_speed"))
        environ |= sandbox.settings() | {"KATANA_REDIRECT_URI": redirect_uri}
        environ["TRUSTED_HOSTS"] = "localhost"
        app = databases.migrated(environ)
        maker = Maker(ClientBrowser(app.test_client()), sandbox)
        maker.sign_up()
        maker.connect(factory=FACTORY)
        server = stack.enter_context(served("wsgi:app", "/healthz", environ, listener))
        browser = WireBrowser(server.url)
        stack.callback(browser.close)
        ada = Syncing(OnlyConnection(app, sandbox))
        yield Bench(app, sandbox, environ, server.url, Maker(browser, sandbox), ada)


@contextmanager
def _workers(bench: Bench, number: int = 1) -> Iterator[None]:
    running = [flask(bench.environ, "worker") for _ in range(number)]
    try:
        yield
    finally:
        for worker in running:
            worker.terminate()
        for worker in running:
            worker.communicate()


def _first(bench: Bench, orders: int) -> First:
    """From a worker's first request until every record is stored."""
    bench.sandbox.grow("sales_orders", orders, days=30)
    orders = len(bench.ada.truth()["sales_orders"])
    bench.sandbox.rules(latency_seconds=LATENCY_SECONDS)
    before = bench.asked()
    with _workers(bench):
        until(lambda: bench.asked() > before)
        began = time.perf_counter()
        until(lambda: _has_read_all(bench))
        seconds = time.perf_counter() - began
    assert bench.ada.rows_of_orders() == orders
    bench.sandbox.rules(latency_seconds=0)
    return First(orders, bench.asked() - before, seconds)


def _has_read_all(bench: Bench) -> bool:
    with bench.app.app_context():
        unread = select(func.count()).select_from(SyncCursor).where(SyncCursor.read_at.is_(None))
        left = db.session.scalar(unread)
        db.session.rollback()
        return left == 0


def _unchanged(bench: Bench) -> dict[str, int]:
    """Requests of a pass without changes, by resource."""
    found = {}
    hints, connection_id = bench.ada.parts.hints, bench.ada.connected.id
    for name in bench.ada.parts.resources:
        before = bench.asked()
        hints.hint(connection_id, name)
        bench.ada.run(name)
        found[name] = bench.asked() - before
    return found


def _deliveries(bench: Bench, seconds: float) -> list[float]:
    """The latency of each signed delivery. Many clients post the next one after each response."""
    with _workers(bench):
        until(bench.sandbox.webhooks)
    with bench.app.app_context():
        connection_id = bench.ada.connected.id
        sealed = db.session.scalars(select(Webhook.sealed_token)).one()
        assert sealed
        token = sync.current().receiver.vault.open(sealed, token_place(connection_id))
        db.session.rollback()
    url = bench.sandbox.webhooks()[-1]["url"]
    body = b'{"action": "sales_order.updated", "webhook_id": 1, "object": {"id": "10005"}}'
    signature = hmac.new(token.encode(), body, sha256).hexdigest()
    took: list[float] = []
    over = time.perf_counter() + seconds

    def post(_client: int) -> None:
        with requests.Session() as http:
            while time.perf_counter() < over:
                began = time.perf_counter()
                answer = http.post(url, body, headers={"x-sha2-signature": signature})
                took.append(time.perf_counter() - began)
                assert answer.status_code == 204

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(post, range(CLIENTS)))
    return took


def _seen(bench: Bench, times: int) -> list[float]:
    """The seconds from a new order at Katana until it is in the list of orders."""
    bench.maker.sign_in()
    found = []
    with _workers(bench):
        for _ in range(times):
            began = time.perf_counter()
            (order,) = bench.sandbox.happen("new_order", factory=FACTORY)
            number = f"/orders/{order['id']}"
            until(lambda number=number: number in bench.maker.get("/orders").text)
            found.append(time.perf_counter() - began)
    return found


def _many(bench: Bench, connections: int, workers: int) -> Many:
    """The seconds in which `workers` workers read every connection for the first time."""
    bench.sandbox.rules(webhooks="plan")
    for number in range(connections):
        Connected(bench.app, bench.sandbox, dict(bench.environ), f"maker{number}", factory=SMALL)
    before = bench.asked()
    with bench.app.app_context():
        db.session.execute(update(SyncAccount).values(paused_until=None))
        db.session.commit()
    with _workers(bench, workers):
        until(lambda: bench.asked() > before)
        began = time.perf_counter()
        until(lambda: _has_read_all(bench), seconds=300)
        seconds = time.perf_counter() - began
    return Many(connections, workers, bench.asked() - before, seconds)


def _answer(
    first: First,
    unchanged: Mapping[str, int],
    deliveries: list[float],
    seen: list[float],
    many: Many,
    seconds: float,
) -> Answer:
    ideal = first.requests * LATENCY_SECONDS
    p99 = percentile(deliveries, 0.99)
    p50_seen = percentile(seen, 0.5)
    return Answer(
        question="How fast is the copy?",
        how=(
            f"This app under gunicorn, {WORKERS} workers of {THREADS} threads, and `flask worker` "
            "as processes of their own, on PostgreSQL, with the sandbox as Katana on the same "
            f"machine. For the first pass its API answers after {LATENCY_SECONDS * 1000:.0f} ms, "
            f"with pages of {PAGE_SIZE}; ideal is the number of requests times that, one after the "
            "other. Katana's limit of requests is out of the way: at 60 a minute it would be what "
            "is measured."
        ),
        tables=[
            Table(
                head=["", "measured", "beside"],
                rows=[
                    [
                        f"first pass over {first.orders:,} orders and the rest",
                        f"{first.seconds:.1f} s, {first.requests} requests",
                        f"ideal {ideal:.1f} s: {first.seconds / ideal:.2f} times",
                    ],
                    [
                        "a pass in which nothing has changed",
                        ", ".join(f"{name} {n}" for name, n in unchanged.items()),
                        "requests",
                    ],
                    [
                        f"a delivery, {CLIENTS} clients at once for {seconds:.0f} s",
                        f"p50 {percentile(deliveries, 0.5) * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms",
                        f"{len(deliveries) / seconds:,.0f} a second",
                    ],
                    [
                        f"from a new order at Katana to the page, {len(seen)} times",
                        f"p50 {p50_seen:.2f} s, max {max(seen):.2f} s",
                        "webhook, worker, page",
                    ],
                    [
                        f"{many.connections:,} connections read whole by {many.workers} workers",
                        f"{many.seconds:.0f} s, {many.requests:,} requests",
                        f"{many.requests / many.seconds:,.0f} requests a second",
                    ],
                ],
            )
        ],
        aims=[
            Aim(
                "A pass without changes costs one request a resource",
                f"at most {max(unchanged.values())}",
                max(unchanged.values()) == 1,
            ),
            Aim("A change is on the page within 2 s (p50)", f"{p50_seen:.2f} s", p50_seen < 2),
        ],
    )
