"""What is told to probes while the database hangs: soon, and nothing of the why."""

import os
import secrets
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Event, Semaphore

import psutil
import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.operations import probes
from app.operations.probes import Question
from tests.conftest import MakeApp

pytestmark = pytest.mark.own_stage

WAIT_SECONDS = 30


@contextmanager
def stopped(url: str) -> Iterator[None]:
    """The server behind this database stands still: it takes connections and answers nothing."""
    with psycopg.connect(url) as connection:
        backends = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchall()
        pids = [pid for (pid,) in backends]
        postmaster = psutil.Process(connection.info.backend_pid).ppid()
    still = [postmaster, *pids]
    for pid in still:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in still:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.both_databases
@pytest.mark.one_database("postgresql")
def test_a_database_that_hangs_is_not_ready(
    app: Flask, client: FlaskClient, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-81: no timeout of the database ends this wait; the probe is answered, and it recovers."""
    assert client.get("/readyz").status_code == 200
    monkeypatch.setattr(probes, "PATIENCE_SECONDS", 0.2)
    with ThreadPoolExecutor(1) as executor, stopped(database_url):
        asking = [executor.submit(client.get, "/readyz") for _ in range(3)]
        answers = [future.result(WAIT_SECONDS) for future in asking]

        assert [(a.status_code, a.get_data()) for a in answers] == [(503, b"not ready\n")] * 3

    monkeypatch.setattr(probes, "PATIENCE_SECONDS", WAIT_SECONDS)
    assert client.get("/readyz").status_code == 200


@pytest.mark.one_database("postgresql")
def test_metrics_of_a_database_that_hangs_are_those_of_the_process(
    new_app: MakeApp, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-81: Prometheus is answered in time, with the counters and without the gauges."""
    token = secrets.token_hex(32)
    client = new_app(METRICS_TOKEN=token).test_client()
    ask = partial(client.get, "/metrics", headers={"Authorization": f"Bearer {token}"})
    assert b"katana_database_up 1.0" in ask().get_data()
    monkeypatch.setattr(probes, "PATIENCE_SECONDS", 0.2)
    with ThreadPoolExecutor(1) as executor, stopped(database_url):
        asking = [executor.submit(ask) for _ in range(3)]
        answers = [future.result(WAIT_SECONDS) for future in asking]

        assert [answer.status_code for answer in answers] == [200] * 3
        assert all(b"katana_database_up 0.0" in answer.get_data() for answer in answers)
        assert all(b"katana_refreshes_total" in answer.get_data() for answer in answers)
        assert not any(b"katana_connections{" in answer.get_data() for answer in answers)

    monkeypatch.setattr(probes, "PATIENCE_SECONDS", WAIT_SECONDS)
    assert b"katana_database_up 1.0" in ask().get_data()


class Hanging:
    """Answers once it is let go; tells how often it was asked."""

    def __init__(self) -> None:
        self.go = Event()
        self._asked = Semaphore(0)

    def __call__(self) -> str:
        self._asked.release()
        assert self.go.wait(WAIT_SECONDS)
        return "answer"

    def was_asked(self, *, wait: bool = True) -> bool:
        """Whether it was asked once more."""
        return self._asked.acquire(timeout=WAIT_SECONDS if wait else 0)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """A database that hangs until the test lets it go, or ends."""
    hanging = Hanging()
    yield hanging
    hanging.go.set()


@pytest.fixture
def question(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> Question[str]:
    """What probes ask of it, with little patience."""
    monkeypatch.setattr(probes, "PATIENCE_SECONDS", 0.01)
    return Question(hanging)


def ask_in_vain(question: Question[str]) -> None:
    """One probe that is told to wait no longer."""
    with pytest.raises(TimeoutError):
        question.answer()


def test_a_question_that_hangs_is_asked_once(
    hanging: Hanging, question: Question[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probes that come again and again pile nothing up; the answer is there when it comes."""
    for _ in range(5):
        ask_in_vain(question)

    assert hanging.was_asked()
    assert not hanging.was_asked(wait=False)
    hanging.go.set()
    monkeypatch.setattr(probes, "PATIENCE_SECONDS", WAIT_SECONDS)
    assert question.answer() == "answer"


def test_a_question_that_hangs_for_long_is_asked_anew(
    hanging: Hanging, question: Question[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hangs for ever, on a connection that is dead, hides no recovery."""
    monkeypatch.setattr(probes, "GIVEN_UP_SECONDS", 0.0)
    for _ in range(3):
        ask_in_vain(question)

        assert hanging.was_asked()


def test_what_asking_raises_is_raised() -> None:
    """A database that says no says it to who asks."""

    def refuse() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        Question(refuse).answer()
