"""How many orders are wrong in a copy after each kind of fault: this app and a usual sample."""

import random
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

import requests
from sqlalchemy import create_engine, select, update

from app.database.clock import SystemClock
from app.database.db import db
from app.sync.models import SyncAccount, SyncCursor
from benchmarks import databases
from benchmarks.peers import obvious_sync
from benchmarks.question import Task
from benchmarks.results import Aim, Answer, Table
from benchmarks.web import served
from tests.support.actors import ClientBrowser, Maker
from tests.support.commands import flask
from tests.support.connected import Connected
from tests.support.sandbox import Sandbox, running_sandbox
from tests.support.servers import reserved_port
from tests.support.syncing import OnlyConnection, Syncing
from tests.support.until import until

FACTORY = "alder-and-spoke"
CHANGES = {"new_order": 4, "change_order": 4, "ship_order": 1, "delete_order": 2}  # weights
EVENTS = [
    f"sales_order.{name}" for name in ("created", "updated", "packed", "delivered", "deleted")
]
NIGHTS, POLL_TRIES = 2, 3
DAY_SECONDS = 24 * 3600.0
SOON_SECONDS = 10.0  # between passes of one poll; the next poll is due after 48 s or more
TIMEOUT_SECONDS = 30

#: The fields of an order that are compared: enough to tell an old state from a new one.
Orders = dict[int, tuple[str, str, Decimal, datetime]]


class Build(Protocol):
    """One implementation that keeps a copy of orders, served, with a webhook."""

    sandbox: Sandbox

    def start(self) -> None:
        """Start to accept deliveries."""

    def kill(self) -> None:
        """Kill it, so that it cannot finish anything."""

    def hour(self) -> None:
        """Let an hour pass: Katana repeats failed deliveries, and back-off has ended."""

    def night(self) -> None:
        """Let a day pass: the daily work is done."""

    def orders(self) -> Orders:
        """The copy."""


class Day:
    """A day on which `changes` changes of orders happen, and one fault."""

    def __init__(self, build: Build, seed: int, changes: int) -> None:
        self.build = build
        self.sandbox = build.sandbox
        self.dice = random.Random(seed)
        self.changes = changes

    def change(self, number: int, **details: Any) -> None:
        """Change so many orders, one after the other."""
        for what in self.dice.choices(list(CHANGES), list(CHANGES.values()), k=number):
            self.sandbox.happen(what, factory=FACTORY, **details)

    def tell(self) -> None:
        """Wait until each delivery was posted once. Repeats may come later."""

        def is_told() -> bool:
            told = self.sandbox.deliveries()
            return all(each["attempts"] or each["state"] == "lost" for each in told)

        until(is_told)


def nothing(day: Day) -> None:
    """No fault."""
    day.change(day.changes)


def deliveries(fault: str) -> Callable[[Day], None]:
    """This fault for every third delivery."""

    def trouble(day: Day) -> None:
        for _ in range(day.changes // 3):
            day.sandbox.fault("delivery", fault, seconds=0.3)
            day.change(3)
        day.tell()

    return trouble


def api_fails(day: Day) -> None:
    """Katana's API responds 500 while a third of the changes are delivered."""
    day.change(day.changes // 3)
    day.tell()
    day.sandbox.fault("api", "status", status=500, times=0)
    day.change(day.changes // 3)
    day.tell()
    day.sandbox.clear_faults()
    day.change(day.changes // 3)


def is_away(day: Day) -> None:
    """The app is killed, and is down until Katana has given up on its deliveries."""
    day.change(day.changes // 3)
    day.build.kill()
    day.change(day.changes // 3)
    day.sandbox.wait_until_settled()
    day.build.start()
    day.change(day.changes // 3)


def is_disabled(day: Day) -> None:
    """A user at Katana disables the webhook."""
    day.change(day.changes // 2)
    day.sandbox.change_webhooks("disable")
    day.change(day.changes // 2)


def moves_while_read(day: Day) -> None:
    """No delivery arrives, and orders change between two pages of the next list."""
    day.sandbox.fault("delivery", "lose", times=0)
    day.change(day.changes // 2)
    day.change(day.changes // 2, after_lists=1, resource="sales_orders")


def shows_late(day: Day) -> None:
    """No delivery arrives, and each change is dated two minutes before the API returns it."""
    day.change(1)
    day.tell()
    day.build.night()
    day.sandbox.fault("delivery", "lose", times=0)
    day.change(day.changes, late=120)


LATE = "changes show two minutes late"
TROUBLES: dict[str, Callable[[Day], None]] = {
    "nothing": nothing,
    "a third of the deliveries is lost": deliveries("lose"),
    "a third comes twice": deliveries("double"),
    "a third comes after the next": deliveries("reorder"),
    "the API fails for a while": api_fails,
    "the app is away for an hour": is_away,
    "somebody disables the webhook": is_disabled,
    "orders change while a list is read": moves_while_read,
    LATE: shows_late,
}


def measure(task: Task) -> Answer:
    """Wrong orders by implementation and fault: an hour after the last change, and days later."""
    changes = task.size(60, 12)
    found: dict[str, list[int]] = {}
    orders = 0
    for seed, (name, trouble) in enumerate(TROUBLES.items()):
        found[name] = []
        for make in (_obvious, _ours):
            with make(task, f"in_step_{seed}") as build:
                day = Day(build, seed, changes)
                trouble(day)
                build.sandbox.clear_faults()
                build.hour()
                found[name].append(_wrong(build))
                for _ in range(NIGHTS):
                    build.night()
                found[name].append(_wrong(build))
                orders = max(orders, len(_truth(build)))
    return _answer(found, changes, orders)


class Server:
    """A server on a reserved port; while it is stopped, connections are refused."""

    def __init__(self, port: int, target: str) -> None:
        self._port = port
        self._target = target
        self._running = ExitStack()

    def start(self, environ: dict[str, str]) -> None:
        """Start it."""
        listener = socket.create_server(("127.0.0.1", self._port), backlog=128)
        listener.set_inheritable(True)
        self._running.enter_context(listener)
        self._running.enter_context(served(self._target, "/healthz", environ, listener))

    def stop(self) -> None:
        """Stop it."""
        self._running.close()


class Obvious:
    """The usual sample."""

    def __init__(self, sandbox: Sandbox, environ: dict[str, str], port: int) -> None:
        self.sandbox = sandbox
        self._environ = environ
        self._url = f"http://localhost:{port}"
        self._server = Server(port, "benchmarks.peers.obvious_sync:create()")

    def subscribe(self, token: str) -> None:
        """Register its webhook."""
        asked = requests.post(
            f"{self.sandbox.url}/v1/webhooks",
            json={"url": f"{self._url}/webhook", "subscribed_events": EVENTS},
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT_SECONDS,
        )
        asked.raise_for_status()
        self._environ["WEBHOOK_TOKEN"] = asked.json()["token"]

    def start(self) -> None:
        self._server.start(self._environ)

    def kill(self) -> None:
        self._server.stop()

    def hour(self) -> None:
        self.sandbox.wait_until_settled()

    def night(self) -> None:
        for _ in range(POLL_TRIES):  # a poll fails if a delivery stores the same order meanwhile
            if requests.post(f"{self._url}/poll", timeout=TIMEOUT_SECONDS).ok:
                return
        raise AssertionError("the nightly poll does not get through")

    def orders(self) -> Orders:
        return _orders(requests.get(f"{self._url}/orders", timeout=TIMEOUT_SECONDS).json())

    def close(self) -> None:
        """Stop it."""
        self._server.stop()


class Ours:
    """This app, with one worker."""

    def __init__(self, sandbox: Sandbox, environ: dict[str, str], port: int) -> None:
        self.sandbox = sandbox
        self._environ = environ
        self._server = Server(port, "wsgi:app")
        self.app = databases.migrated(environ)
        self.syncing = Syncing(OnlyConnection(self.app, sandbox))

    def start(self) -> None:
        self._server.start(self._environ)
        self._worker = flask(self._environ, "worker")

    def kill(self) -> None:
        self._worker.kill()
        self._worker.communicate()
        self._server.stop()

    def hour(self) -> None:
        self.sandbox.wait_until_settled()
        with self.app.app_context():
            over = {"lease_until": None, "next_attempt_at": None}
            db.session.execute(update(SyncCursor).values(over))
            db.session.execute(update(SyncAccount).values(paused_until=None))
            db.session.commit()
        self.syncing.parts.hints.hint(self.syncing.connected.id)
        until(self.is_idle)
        self.sandbox.wait_until_settled()  # including events that happened during the poll
        until(self.is_idle)

    def is_idle(self) -> bool:
        """Whether nothing is being read, or due before the next poll."""
        soon = SystemClock().database_time(SOON_SECONDS)
        with self.app.app_context():
            busy = (SyncCursor.due_at < soon) | SyncCursor.lease_until.is_not(None)
            found = db.session.scalars(select(SyncCursor).where(busy).limit(1)).first()
            db.session.rollback()
            return found is None

    def night(self) -> None:
        """Let the next poll read everything, as once a day."""
        day = SystemClock().database_time(-2 * DAY_SECONDS)
        with self.app.app_context():
            db.session.execute(update(SyncCursor).values(whole_at=day))
            db.session.commit()
        self.hour()

    def orders(self) -> Orders:
        with self.app.app_context():
            return {
                key: (row[0], row[2], row[3], row[5])
                for key, row in self.syncing.copy()["sales_orders"].items()
            }

    def close(self) -> None:
        """Stop it."""
        self._worker.terminate()
        self._worker.communicate()
        self._server.stop()


@contextmanager
def _obvious(task: Task, name: str) -> Iterator[Build]:
    """The usual sample, with all orders copied."""
    callback = "http://localhost:8000/katana/callback"
    with reserved_port() as port, running_sandbox(callback) as sandbox:
        sandbox.rules(access_token_seconds=86_400, requests_per_minute=100_000)
        scratch = databases.environ(task.databases.create("sqlite", f"{name}_token"))
        app = databases.migrated(scratch | sandbox.settings())
        token = Connected(app, sandbox, scratch | sandbox.settings(), factory=FACTORY)
        access = token.stored_access_token()
        environ = {
            "DATABASE_URL": databases.with_driver(task.databases.create("postgresql", f"{name}_o")),
            "API_URL": f"{sandbox.url}/v1",
            "API_TOKEN": access,
        }
        engine = create_engine(environ["DATABASE_URL"])
        obvious_sync.db.metadata.create_all(engine)
        engine.dispose()
        build = Obvious(sandbox, environ, port)
        build.subscribe(access)
        try:
            build.start()
            build.night()
            yield build
        finally:
            build.close()


@contextmanager
def _ours(task: Task, name: str) -> Iterator[Build]:
    """This app, with all orders copied and a webhook."""
    with reserved_port() as port:
        redirect_uri = f"http://localhost:{port}/katana/callback"
        with running_sandbox(redirect_uri) as sandbox:
            sandbox.rules(access_token_seconds=86_400, requests_per_minute=100_000)
            environ = databases.environ(task.databases.create("postgresql", name))
            environ |= sandbox.settings() | {"KATANA_REDIRECT_URI": redirect_uri}
            environ["TRUSTED_HOSTS"] = "localhost"
            build = Ours(sandbox, environ, port)
            maker = Maker(ClientBrowser(build.app.test_client()), sandbox)
            maker.sign_up()
            maker.connect(factory=FACTORY)
            try:
                build.start()
                until(lambda: sandbox.webhooks() and build.syncing.is_in_step())
                until(build.is_idle)
                yield build
            finally:
                build.close()


def _truth(build: Build) -> Orders:
    rows = build.sandbox.truth(FACTORY)["sales_orders"]
    return _orders([row for row in rows if not row.get("deleted_at")])


def _orders(rows: list[dict[str, Any]]) -> Orders:
    return {
        row["id"]: (
            row["order_no"],
            row["status"],
            Decimal(str(row["total"])),
            datetime.fromisoformat(row["updated_at"]),
        )
        for row in rows
    }


def _wrong(build: Build) -> int:
    """The number of orders that are missing, outdated, or not deleted."""
    copy, truth = build.orders(), _truth(build)
    return sum(copy.get(key) != truth.get(key) for key in copy.keys() | truth.keys())


def _answer(found: dict[str, list[int]], changes: int, orders: int) -> Answer:
    hour, later = (max(counts[n] for counts in found.values()) for n in (2, 3))
    for_good = [counts[1] for counts in found.values() if counts[1]]
    return Answer(
        question="How many orders does a copy get wrong?",
        how=(
            f"A factory with up to {orders} orders, of which {changes} are made, changed, shipped "
            "or deleted while one thing goes wrong. The obvious build stores the order that a "
            "delivery names, and asks every night for what has changed since; it checks signatures "
            "and reads all pages. Both are served by gunicorn on PostgreSQL and listen to the "
            "sandbox's webhooks. Wrong is an order that is missing, of an earlier state, or still "
            "there. An hour later means: every repeat of a delivery was posted, and this app's "
            f"worker has polled. Days later means: after {NIGHTS} nightly polls, and as many "
            "of the passes in which this app reads everything, once a day."
        ),
        tables=[
            Table(
                head=[
                    "what goes wrong",
                    "obvious build, an hour later",
                    "days later",
                    "this app, an hour later",
                    "days later",
                ],
                rows=[[name, *map(str, counts)] for name, counts in found.items()],
            )
        ],
        aims=[
            Aim("No order is wrong days later", f"{later} are", later == 0),
            Aim(
                "An hour later only those that Katana showed too late for the overlap",
                f"at most {hour}",
                all(counts[2] == 0 for name, counts in found.items() if name != LATE),
            ),
        ],
        notes=[
            "Each poll of this app begins 60 s before the last change that it knows. What Katana "
            "shows later than that is found by the pass that reads everything, once a day."
        ],
        in_short=(
            f"When {changes} orders change while something goes wrong, a webhook with a nightly "
            f"poll has orders wrong for good in {len(for_good)} of {len(found)} cases, up to "
            f"{max(for_good, default=0)} of them; this app has **{later or 'none'}**."
        ),
    )
