"""The worker's jobs as Celery tasks: real processes of Celery, and a real Redis between them."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from threading import Timer

import pytest
from celery import Celery

from app.database.db import db
from app.sync.models import SyncCursor
from tests.support.commands import module
from tests.support.redis_server import redis
from tests.support.sandbox import Sandbox
from tests.support.servers import reserved_port
from tests.support.syncing import Syncing
from tests.support.until import until

BIG = 700  # orders: three pages and a rest
END_SECONDS = 60
PASSWORD = "secret-7f31"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    """The URL of a Redis that nothing else uses; it asks for no password, and takes any."""
    with reserved_port() as port, redis(port, tmp_path):
        yield f"redis://127.0.0.1:{port}/0"


def start(environ: dict[str, str], *arguments: str) -> "subprocess.Popen[str]":
    """`celery worker`, in a session of its own."""
    tasks = "app.operations.worker.celery_tasks"
    command = ("--app", tasks, "worker", "--concurrency", "2", *arguments)
    return module(environ, "celery", *command, own_session=True)


def kill(process: "subprocess.Popen[str]") -> None:
    """End it and its children at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=END_SECONDS)


@contextmanager
def celery(
    environ: dict[str, str], broker: str, folder: Path, *arguments: str
) -> Iterator["subprocess.Popen[str]"]:
    """Meanwhile Celery works, and beat says what is due."""
    schedule = ("--beat", "--schedule", str(folder / "beat"))
    process = start({**environ, "CELERY_BROKER_URL": broker}, *schedule, *arguments)
    try:
        yield process
    finally:
        kill(process)


@pytest.mark.slow
@pytest.mark.both_databases
def test_lost_and_doubled_tasks_and_a_killed_worker_harm_nothing(
    ada: Syncing, sandbox: Sandbox, environ: dict[str, str], broker: str, tmp_path: Path
) -> None:
    """The lease in the row says who reads; each change is told once, and none is missed.

    A hint brings a change at once, and SIGTERM ends a worker well.
    """
    sandbox.grow("sales_orders", BIG, days=30)
    sandbox.rules(latency_seconds=0.3)
    client = Celery(broker=broker)
    with celery(environ, broker, tmp_path) as process:
        until(lambda: ada.rows_of_orders() > 0)
        for _ in range(20):
            client.send_task("do", ("sync", [str(ada.connected.id), "sales_orders"]))
        kill(process)
    client.control.purge()

    sandbox.rules(latency_seconds=0)
    with ada.app.app_context():  # a minute later
        db.session.execute(db.update(SyncCursor).values(lease_until=None))
        db.session.commit()
    read = ada.lists("/sales_orders")
    with celery(environ, broker, tmp_path) as process:
        until(lambda: ada.lists("/sales_orders") > read)
        for _ in range(20):
            client.send_task("do", ("sync", [str(ada.connected.id), "sales_orders"]))
        until(ada.is_in_step)
        sandbox.happen("new_order")
        ada.parts.hints.hint(ada.connected.id, "sales_orders")
        until(ada.is_in_step)

        process.terminate()
        output, _ = process.communicate(timeout=END_SECONDS)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    ada.assert_in_step()


@pytest.mark.slow
@pytest.mark.one_database
def test_without_a_broker_it_says_so(environ: dict[str, str]) -> None:
    """One sentence and status 1, as for any other setting."""
    process = start({**environ, "CELERY_BROKER_URL": ""})
    output, _ = process.communicate(timeout=END_SECONDS)

    assert process.returncode == 1
    assert output.strip().endswith("- CELERY_BROKER_URL is not set.")
    assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.one_database
def test_a_broker_that_is_away_is_waited_for_and_its_password_is_not_told(
    environ: dict[str, str],
) -> None:
    """It tries again, and the log names the broker without the password."""
    with reserved_port() as port:
        process = start({**environ, "CELERY_BROKER_URL": f"redis://:{PASSWORD}@127.0.0.1:{port}/0"})
        assert process.stdout
        limit = Timer(END_SECONDS, process.kill)
        limit.start()
        said = list(takewhile(lambda line: "Cannot connect" not in line, process.stdout))
        assert process.poll() is None, "".join(said)
        said.append(process.stdout.readline())  # and again
        limit.cancel()
        kill(process)

    assert f"redis://:**@127.0.0.1:{port}" in said[-1]
    assert PASSWORD not in "".join(said)
