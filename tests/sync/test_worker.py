"""The worker: everything that is due is done, once, by however many there are."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from app import connections
from app.database.db import db
from app.operations.worker import Job, Key, jobs
from app.operations.worker.loop import Worker
from app.sync.models import SyncCursor
from tests.support.commands import worker
from tests.support.connected import MakeConnected
from tests.support.sandbox import Sandbox
from tests.support.syncing import Syncing
from tests.support.until import until

BIG = 700  # orders: three pages and a rest


class Bell:
    """Says when to stop, as a signal does for the command."""

    def __init__(self) -> None:
        self._asked = False
        self._bell = threading.Event()

    def asked(self) -> bool:
        return self._asked

    def ask(self) -> None:
        self._asked = True
        self._bell.set()

    def wake(self) -> None:
        self._bell.set()

    def wait(self, seconds: float) -> None:
        self._bell.wait(min(seconds, 0.05))
        self._bell.clear()


@contextmanager
def working(app: Flask, table: list[Job], threads: int = 3) -> Iterator[Bell]:
    """Meanwhile a worker does these jobs."""
    bell = Bell()
    thread = threading.Thread(target=Worker(app, table, threads, bell).run)
    thread.start()
    try:
        yield bell
    finally:
        bell.ask()
        thread.join()


@pytest.fixture
def ada(new_connected: MakeConnected, sandbox: Sandbox) -> Syncing:
    """A connected user; Katana's limit is out of the way."""
    sandbox.rules(requests_per_minute=100_000)
    return Syncing(new_connected())


def test_a_worker_reads_what_is_due_until_it_is_stopped(
    ada: Syncing, sandbox: Sandbox, environ: dict[str, str]
) -> None:
    """From the connect on; a hint brings a change at once; SIGTERM ends it well."""
    with worker(environ) as process:
        until(ada.is_in_step)
        sandbox.happen("new_order")
        ada.parts.hints.hint(ada.connected.id, "sales_orders")
        until(ada.is_in_step)

        process.terminate()
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    ada.assert_in_step()


@pytest.mark.slow
def test_many_workers_do_each_thing_once(
    ada: Syncing, new_connected: MakeConnected, sandbox: Sandbox, environ: dict[str, str]
) -> None:
    """Three workers, three users: no page is read twice, and every copy is right."""
    everybody = [ada, *(Syncing(new_connected(name)) for name in ("ben", "cleo"))]
    sandbox.grow("sales_orders", BIG, days=30)
    with worker(environ), worker(environ), worker(environ):
        until(lambda: all(one.is_in_step() for one in everybody))

    for syncing in everybody:
        syncing.assert_in_step()
    # A look, three pages and a rest, and what came meanwhile; the same for each of the three.
    assert ada.lists("/customers") <= 2 * len(everybody)


@pytest.mark.slow
def test_what_a_killed_worker_was_reading_is_read_by_another(
    ada: Syncing, sandbox: Sandbox, environ: dict[str, str]
) -> None:
    """Its lease runs out; nothing is told twice."""
    sandbox.grow("sales_orders", BIG, days=30)
    sandbox.rules(latency_seconds=0.3)
    with worker(environ) as process:
        until(lambda: ada.rows_of_orders() > 0)
        process.kill()
        process.communicate(timeout=60)
    sandbox.rules(latency_seconds=0)
    with ada.app.app_context():  # a minute later
        db.session.execute(db.update(SyncCursor).values(lease_until=None))
        db.session.commit()
    with worker(environ):
        until(ada.is_in_step)

    ada.assert_in_step()


def test_a_small_factory_does_not_wait_for_a_large_one(
    ada: Syncing, new_connected: MakeConnected, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one thread: the large list is read in chunks, and the small one comes in between."""
    monkeypatch.setattr("app.katana.client.PAGE_SIZE", 10)
    sandbox.grow("sales_orders", 400, days=30)
    ben = Syncing(new_connected("ben", factory="tallow-and-wick"))
    with ada.app.app_context():
        table = [job for job in jobs() if job.name == "sync"]
        with working(ada.app, table, threads=1):
            until(lambda: ben.rows_of_orders() >= 64)
            large = ada.rows_of_orders()

    assert large < 464


def test_a_slow_connection_delays_no_other(ada: Syncing, new_connected: MakeConnected) -> None:
    """Threads do one thing each; one that hangs leaves the others to the rest."""
    hangs, done = threading.Event(), []

    def due(_: int) -> list[Key]:
        return [key for key in [("slow",), ("one",), ("two",)] if key not in done]

    def do(key: Key, _: object) -> None:
        if key == ("slow",):
            hangs.wait(30)
        done.append(key)

    with working(ada.app, [Job("test", 0, 0, due, do)], threads=2):
        until(lambda: done == [("one",), ("two",)])
        hangs.set()


def test_a_job_that_fails_ends_nothing(ada: Syncing) -> None:
    """Neither one whose work raises nor one that cannot say what is due."""
    tried: list[Key] = []

    def do(key: Key, _: object) -> None:
        tried.append(key)
        raise ZeroDivisionError

    def fails(_: int) -> list[Key]:
        raise RuntimeError

    table = [
        Job("cannot say", 0, 0, fails, do),
        Job("fails", 0, 1, lambda _: [("x",)], do),
    ]
    with working(ada.app, table):
        until(lambda: len(tried) > 3)


def test_no_more_at_once_than_its_share(ada: Syncing) -> None:
    """A job with many things to do leaves threads to the others."""
    most, running, lock = 0, 0, threading.Lock()
    begun: list[str] = []

    def do(key: Key, _: object) -> None:
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
        begun.append(key[0])
        threading.Event().wait(0.01)
        with lock:
            running -= 1

    table = [Job("many", 0, 2, lambda limit: [(str(n),) for n in range(limit)], do)]
    with working(ada.app, table, threads=6):
        until(lambda: len(begun) > 30)

    assert most == 2


def test_a_connection_that_nobody_uses_is_kept_alive(
    ada: Syncing, new_connected: MakeConnected
) -> None:
    """What was last renewed more than a week ago is renewed."""
    ben = new_connected("ben")
    ben.change(refreshed_at=-8 * 24 * 3600.0)
    with ada.app.app_context():
        idle = next(job for job in jobs() if job.name == "keep-alive")
        assert idle.due(9) == [(str(ben.id),)]
        idle.do((str(ben.id),), lambda: False)
        assert idle.due(9) == []
        assert connections.current().idle.oldest()
    assert ben.refreshes() == 1


@pytest.mark.slow
def test_a_worker_waits_for_its_database(
    ada: Syncing, sandbox: Sandbox, environ: dict[str, str]
) -> None:
    """A statement that fails is a line in the log: it goes on when the database is back."""
    told: list[Any] = []

    def due(_: int) -> list[Key]:
        told.append(None)
        with db.engine.connect() as database:
            if len(told) == 1:
                database.exec_driver_sql("SELECT nothing FROM nowhere")
        return [("x",)]

    with working(ada.app, [Job("test", 0, 0, due, lambda key, _: told.append(key))]):
        until(lambda: ("x",) in told, seconds=90)


@pytest.mark.one_database
def test_sigterm_finishes_the_page_under_way(
    ada: Syncing, sandbox: Sandbox, environ: dict[str, str]
) -> None:
    """The page is stored, the lease given back: nothing waits for it to run out."""
    sandbox.grow("sales_orders", BIG, days=30)
    with worker(environ) as process:
        until(lambda: ada.lists("/sales_orders") >= 1)
        os.kill(process.pid, signal.SIGTERM)
        process.communicate(timeout=60)

    assert process.returncode == 0
    with ada.app.app_context():
        leased = select(func.count()).where(SyncCursor.lease_owner.is_not(None))
        assert db.session.scalar(leased) == 0
