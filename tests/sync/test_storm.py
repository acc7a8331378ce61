"""A storm of all that goes wrong, then quiet: the copy is Katana's truth, and so is the feed.

The app is served, two workers run, and the sandbox posts its deliveries. A round lets at random:
orders, customers and stock change, deliveries get lost, doubled, reordered, delayed and forged,
webhooks disappear, the API fail, tokens expire, workers and servers die or stand still, the
database go away, and the user disconnect and connect another factory. The seed is printed;
STORM_SEED repeats a run, STORM_ROUNDS says how many rounds a slow one has.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
import requests
from flask import Flask
from sqlalchemy import select, update

from app.connections.models import Connection, Status
from app.database.db import db
from app.sync.models import SyncAccount, SyncCursor
from tests.support.actors import Maker
from tests.support.commands import flask
from tests.support.outages import Outage, outage_of, own_database
from tests.support.sandbox import Sandbox
from tests.support.servers import Served
from tests.support.syncing import OnlyConnection, Syncing
from tests.support.until import until

pytestmark = pytest.mark.own_stage

FACTORIES = ("alder-and-spoke", "tallow-and-wick")
WORKERS = 2
STEPS = 20
#: A step takes at most so long, in seconds: enough for some requests to Katana, not for all.
PAUSE_SECONDS = 0.3
CHANGES = (
    *("new_order", "change_order", "ship_order", "delete_order", "stock_moves"),
    *("new_customer", "busy_day"),
)
DELIVERY_FAULTS = ("lose", "double", "reorder", "forge", "unsigned", "delay")
API_FAULTS: tuple[Mapping[str, object], ...] = (
    {"fault": "status", "status": 500},
    {"fault": "status", "status": 429, "retry_after": "1"},
    {"fault": "status", "status": 401},
    {"fault": "lose_answer"},
    {"fault": "drop_before"},
    {"fault": "body", "text": "<html>"},
)


class Storm:
    """The factory, its user, the processes, and the dice."""

    def __init__(
        self, app: Flask, ada: Maker, served: Served, environ: dict[str, str], outage: Outage
    ) -> None:
        self.ada = Syncing(OnlyConnection(app, ada.sandbox))
        self._app = app
        self._maker = ada
        self._sandbox = ada.sandbox
        self._served = served
        self._environ = environ
        self._outage = outage
        self._log = served.log_file.with_name("workers.log")
        self._workers: list[subprocess.Popen[str]] = []
        self._stopped: list[subprocess.Popen[str]] = []
        self._dice = random.Random()

    def begin(self) -> None:
        """Start the workers."""
        while len(self._workers) < WORKERS:
            with self._log.open("a") as log:
                self._workers.append(flask(self._environ, "worker", output=log))

    def rage(self, seed: str) -> list[str]:
        """Let as many things happen as a round has, chosen by the seed, and say which did."""
        self._dice = random.Random(seed)
        steps = self._dice.choices(list(STORM), [weight for weight, _ in STORM.values()], k=STEPS)
        for name in steps:
            if name in WRITES and self._environ["DATABASE_URL"].startswith("sqlite"):
                self._go_on()  # a worker that stands still may hold SQLite's only lock for writing
            STORM[name][1](self)
            # The length is one of the things that are chosen: nothing is waited for.
            time.sleep(self._dice.uniform(0, PAUSE_SECONDS))
        return steps

    def calm_down(self) -> None:
        """No more faults; wait until the copy is the truth, and stop what has read it."""
        self._sandbox.clear_faults()
        self._go_on()
        self._serve_the_user()
        until(self._is_calm, lambda: f"it does not come into step: {self._differences()}")

    def end(self) -> str:
        """Stop the workers, and return what they have written."""
        self._go_on()
        for worker in self._workers:
            worker.terminate()
        assert [worker.wait(60) for worker in self._workers] == [0] * len(self._workers)
        self._workers.clear()
        return self._log.read_text()

    def kill_everybody(self) -> None:
        """End all that this has started, however it went."""
        for worker in self._workers:
            worker.kill()
            worker.wait()

    def change(self) -> None:
        """Something happens in the factory, at once or between two pages that are being read."""
        what = self._dice.choice(CHANGES)
        self._sandbox.happen(what, after_lists=self._dice.choice((0, 0, 0, 1, 2)))

    def spoil_deliveries(self) -> None:
        """The next few do not arrive as they should; those that wait for a repeat are sent."""
        fault = self._dice.choice(DELIVERY_FAULTS)
        self._sandbox.fault("delivery", fault, times=self._dice.randrange(1, 5), seconds=0.2)
        self._sandbox.hurry_deliveries()

    def spoil_webhook(self) -> None:
        """Somebody at Katana disables or deletes it, or enables it again."""
        if self._sandbox.webhooks():
            self._sandbox.change_webhooks(self._dice.choice(("disable", "delete", "enable")))

    def spoil_api(self) -> None:
        """The API fails a few times, in one of its ways."""
        fault = self._dice.choice(API_FAULTS)
        self._sandbox.fault("api", times=self._dice.randrange(1, 4), **fault)  # type: ignore[arg-type]

    def expire(self) -> None:
        """Access tokens run out at Katana before their time."""
        self._sandbox.expire()

    def kill_worker(self) -> None:
        """SIGKILL; another one begins."""
        worker = self._workers.pop(self._dice.randrange(len(self._workers)))
        worker.kill()
        worker.wait()
        self._stopped = [one for one in self._stopped if one is not worker]
        self.begin()

    def pause_worker(self) -> None:
        """A worker stands still in the middle of what it does; one that did goes on."""
        worker = self._dice.choice(self._workers)
        if worker in self._stopped:
            self._go_on()
            return

        worker.send_signal(signal.SIGSTOP)
        self._stopped.append(worker)

    def kill_server(self) -> None:
        """A process of gunicorn is killed; its master starts another."""
        with suppress(IndexError):  # two in a row, before the next has begun
            self._dice.choice(self._served.master().children()).kill()

    def cut_database(self) -> None:
        """The database takes nothing while the factory works on."""
        with self._outage():
            for _ in range(3):
                self.change()
        with self._app.app_context():
            db.engine.dispose()

    def let_a_minute_pass(self) -> None:
        """Leases of the dead run out, and back-off and pauses end."""
        with self._app.app_context():
            past = {"lease_until": None, "next_attempt_at": None}
            db.session.execute(update(SyncCursor).values(past))
            db.session.execute(update(SyncAccount).values(paused_until=None))
            db.session.commit()

    def reconnect(self) -> None:
        """The user connects once more, to the same factory or another."""
        self._connect(self._dice.choice(FACTORIES))

    def disconnect(self) -> None:
        """The user disconnects, and connects again."""
        self._press(self._maker.disconnect)
        self._connect(self._dice.choice(FACTORIES))

    def _connect(self, factory: str) -> None:
        families = len(self._sandbox.ledger().families)
        self._press(lambda: self._maker.connect(factory=factory))
        assert len(self._sandbox.ledger().families) > families

    def _press(self, button: Callable[[], object]) -> None:
        """As users do: once more where the page says that it cannot be done right now."""

        def is_done() -> bool:
            with suppress(requests.ConnectionError, AssertionError, LookupError):
                button()
                return True
            return False

        until(is_done)

    def _serve_the_user(self) -> None:
        """Where a refresh token was lost with its process, the page asks to reconnect."""
        with self._app.app_context():
            status = db.session.scalars(select(Connection.status)).one_or_none()
        if status is not Status.ACTIVE:
            self._connect(FACTORIES[0])

    def _go_on(self) -> None:
        for worker in self._stopped:
            worker.send_signal(signal.SIGCONT)
        self._stopped.clear()

    def _is_calm(self) -> bool:
        self.let_a_minute_pass()
        self._serve_the_user()
        self._sandbox.hurry_deliveries()
        self.ada.parts.hints.hint(self.ada.connected.id)
        return self.ada.is_in_step()

    def _differences(self) -> str:
        copy, truth = self.ada.copy(), self.ada.truth()
        return ", ".join(name for name in truth if copy[name] != truth[name])


#: What may happen, how often in relation to the rest, and how.
STORM: dict[str, tuple[int, Callable[[Storm], None]]] = {
    "change": (12, Storm.change),
    "spoil deliveries": (4, Storm.spoil_deliveries),
    "spoil the webhook": (1, Storm.spoil_webhook),
    "spoil the API": (3, Storm.spoil_api),
    "expire": (1, Storm.expire),
    "kill a worker": (1, Storm.kill_worker),
    "pause a worker": (2, Storm.pause_worker),
    "kill a server": (1, Storm.kill_server),
    "cut the database": (1, Storm.cut_database),
    "a minute passes": (2, Storm.let_a_minute_pass),
    "reconnect": (1, Storm.reconnect),
    "disconnect": (1, Storm.disconnect),
}


#: What a refresh says, with all that is known, where it cannot save.
AWAY = ("not saved yet, will retry", "could not be refreshed ahead of expiry", "not in its history")

#: The steps that write to the database themselves.
WRITES = {"cut the database", "a minute passes", "reconnect", "disconnect"}


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated database that can be taken away."""
    return own_database(request, tmp_path)


@pytest.fixture
def storm(
    request: pytest.FixtureRequest,
    app: Flask,
    served_maker: Maker,
    served: Served,
    environ: dict[str, str],
    sandbox: Sandbox,
    database_url: str,
) -> Iterator[Storm]:
    """A connected user, of whom the workers have not read anything yet."""
    sandbox.rules(requests_per_minute=100_000)
    served_maker.sign_up()
    served_maker.connect()
    storm = Storm(app, served_maker, served, environ, outage_of(request, database_url))
    storm.begin()
    yield storm
    storm.kill_everybody()


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [2, pytest.param(0, marks=pytest.mark.slow, id="many")])
def test_after_any_storm_the_copy_and_the_feed_are_katanas_truth(
    storm: Storm, sandbox: Sandbox, served: Served, rounds: int
) -> None:
    """Record for record, with real deliveries and processes; no refresh token is sent twice."""
    seed = os.environ.get("STORM_SEED") or str(random.SystemRandom().randrange(10**9))
    print(f"STORM_SEED={seed}")
    for n in range(rounds or int(os.environ.get("STORM_ROUNDS", "100"))):
        steps = storm.rage(f"{seed}/{n}")
        print(f"round {n}: {', '.join(steps)}", flush=True)
        storm.calm_down()

    written = storm.end()
    storm.ada.assert_in_step()
    assert unforeseen(written) == []
    assert unforeseen(served.log()) == []
    ledger = sandbox.ledger()
    tokens = [token for family in ledger.families for token in family.refresh_tokens]
    assert not any(token.presented > 1 for token in tokens)


def unforeseen(log: str) -> list[str]:
    """The lines with a traceback that do not tell of a database that is away."""
    return [
        said
        for said, line in pairwise(log.splitlines())
        if line.lstrip().startswith("Traceback") and not any(words in said for words in AWAY)
    ]
