"""/metrics: true under several workers, well-formed, and for Prometheus alone."""

import math
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from socket import socket
from uuid import uuid4

import psutil
import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, text

from app import connections, errors
from app.connections.fleet.overview import EVERY_SECONDS, LEASE_SECONDS, Counts, Overview
from app.connections.history import Event, signal
from app.connections.models import EventKind, Reason, Status
from app.connections.outcomes import RefreshOutcome
from app.database.db import db
from app.operations.gauges import read
from app.operations.metrics import outcome_of
from tests.conftest import MakeApp, MakeMaker
from tests.support.actors import Maker
from tests.support.clocks import HeldClock
from tests.support.connected import Connected, MakeConnected
from tests.support.sandbox import TIMEOUT, Sandbox
from tests.support.servers import Served, gunicorn
from tests.support.statements import statements

SOMEBODY = uuid4()
TOKEN = secrets.token_hex(32)
BEARER = {"Authorization": f"Bearer {TOKEN}"}
FAMILIES = {
    "katana_refreshes": "counter",
    "katana_refresh_duration_seconds": "histogram",
    "katana_connect_duration_seconds": "histogram",
    "katana_lease_takeovers": "counter",
    "katana_connections": "gauge",
    "katana_connections_count_age_seconds": "gauge",
    "katana_oldest_overdue_refresh_age_seconds": "gauge",
    "katana_oldest_refresh_age_seconds": "gauge",
    "katana_incident": "gauge",
    "katana_database_up": "gauge",
}
LABELS = {
    "outcome": set(RefreshOutcome),
    "status": {"active", "reconnect_needed"},
    "le": {"0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "30.0", "60.0", "+Inf"},
}


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    """With metrics."""
    return environ | {"METRICS_TOKEN": TOKEN}


def parsed(exposed: str) -> dict[str, Metric]:
    """The families, by name, without what Python's client adds of its own."""
    families = {family.name: family for family in text_string_to_metric_families(exposed)}
    return {name: family for name, family in families.items() if not name.endswith("_created")}


def values(exposed: str) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in parsed(exposed).values()
        for sample in family.samples
    }


def count(app: Flask) -> bool:
    """Count the connections, as a worker does; whether that was due."""
    with app.app_context():
        return connections.current().counts.renew()


def scrape(served: Served) -> str:
    """What one worker, whichever, tells Prometheus."""
    answer = requests.get(f"{served.url}/metrics", headers=BEARER, timeout=TIMEOUT)
    assert answer.status_code == 200
    return answer.text


@pytest.mark.one_database
class TestServed:
    """Three workers, each with counters of its own."""

    @pytest.fixture
    def served(self, environ: dict[str, str], listener: socket, tmp_path: Path) -> Iterator[Served]:
        environ |= {"TMPDIR": str(tmp_path)}
        with gunicorn(environ, listener, tmp_path / "gunicorn.log", workers=3) as served:
            yield served

    @pytest.mark.slow
    def test_workers_count_together(
        self,
        app: Flask,
        served: Served,
        new_served_maker: MakeMaker,
        sandbox: Sandbox,
        tmp_path: Path,
    ) -> None:
        """R-25: what was sent to Katana is what is counted, whoever is asked, whoever is killed."""
        sandbox.rules(requests_per_minute=10_000, access_token_seconds=3600)
        makers = [new_served_maker(name) for name in ("ada", "bea", "cleo", "dora")]
        for maker in makers:
            maker.sign_up()
            maker.connect()
        before = values(scrape(served))
        sandbox.expire()
        with ThreadPoolExecutor(12) as tabs:
            list(tabs.map(Maker.dashboard, makers * 3))

        count(app)
        sent = [request.status for request in sandbox.ledger().of("refresh")]
        exposed = scrape(served)
        counted = values(exposed)
        assert before["katana_refreshes_total", "ok"] == 0
        assert sent == [200] * 4
        assert counted["katana_refreshes_total", "ok"] == 4
        assert sum(counted["katana_refreshes_total", outcome] for outcome in RefreshOutcome) == 4
        assert counted["katana_refresh_duration_seconds_count",] == 4
        assert counted["katana_connect_duration_seconds_count",] == len(makers)
        assert counted["katana_connections", "active"] == len(makers)
        assert counted["katana_lease_takeovers_total",] == 0
        self._assert_every_worker_says(served, counted)

        workers = psutil.Process(served.process.pid).children()
        workers[0].kill()
        psutil.wait_procs(workers[:1])
        self._assert_every_worker_says(served, counted)
        served.stop()
        assert TOKEN not in served.log()
        assert list(tmp_path.glob("connect-counts-*")) == []

    def _assert_every_worker_says(
        self, served: Served, counted: dict[tuple[str, ...], float]
    ) -> None:
        ages = ("katana_oldest_refresh_age_seconds",), ("katana_connections_count_age_seconds",)
        for _ in range(6):
            now = values(scrape(served))
            assert now | {age: counted[age] for age in ages} == counted


def test_what_is_exposed_is_what_prometheus_likes(app: Flask, client: FlaskClient) -> None:
    """Each family has a text and a type, its unit in its name, and labels from a closed list."""
    answer = client.get("/metrics", headers=BEARER)

    exposed = answer.get_data(as_text=True)
    families = parsed(exposed)
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert {name: family.type for name, family in families.items()} == FAMILIES
    assert all(family.documentation.endswith(".") for family in families.values())
    for name in FAMILIES:
        assert exposed.count(f"# HELP {name}") >= 1
    labels = [
        (label, value)
        for family in families.values()
        for sample in family.samples
        for label, value in sample.labels.items()
    ]
    assert all(value in LABELS[label] for label, value in labels)


@pytest.mark.one_database
@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer \u00e9"},
        {"Cookie": f"session={TOKEN}"},
    ],
)
def test_metrics_are_for_who_knows_the_token(client: FlaskClient, sent: dict[str, str]) -> None:
    """S-77: nobody else learns a number."""
    answer = client.get("/metrics", headers=sent)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.get_data() == b""


@pytest.mark.one_database
def test_without_a_token_there_are_no_metrics(new_app: MakeApp) -> None:
    """S-77: off until somebody turns them on, and then like any page that does not exist."""
    client = new_app(METRICS_TOKEN="").test_client()

    assert client.get("/metrics").status_code == 404
    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404


def test_the_database_tells_of_connections(
    app: Flask, client: FlaskClient, sandbox: Sandbox, environ: dict[str, str]
) -> None:
    """The gauges are true whichever host or command made the change."""
    ada = Connected(app, sandbox, environ)
    bea = Connected(app, sandbox, environ, "bea")
    ada.change(refreshed_at=-9 * 24 * 3600.0)
    bea.change(status="reconnect_needed", reason=Reason.GRANT_ENDED, refreshed_at=-1e7)
    count(app)

    told = values(client.get("/metrics", headers=BEARER).get_data(as_text=True))

    assert told["katana_connections", "active"] == 1
    assert told["katana_connections", "reconnect_needed"] == 1
    assert told["katana_oldest_refresh_age_seconds",] // 3600 == 9 * 24
    assert told["katana_oldest_overdue_refresh_age_seconds",] == 0
    assert told["katana_incident",] == 0
    assert told["katana_database_up",] == 1


@pytest.mark.held_time
def test_connections_are_counted_once_a_minute_and_the_age_of_the_count_is_told(
    app: Flask, client: FlaskClient, new_connected: MakeConnected, clock: HeldClock
) -> None:
    """A scrape counts nothing. Before the first count it says that it knows no number."""

    def told() -> tuple[float, float]:
        exposed = values(client.get("/metrics", headers=BEARER).get_data(as_text=True))
        age = exposed["katana_connections_count_age_seconds",]
        return exposed["katana_connections", "active"], age

    new_connected("ada")
    number, age = told()
    assert math.isnan(number)
    assert age == math.inf

    assert count(app)
    new_connected("bea")
    clock.move(EVERY_SECONDS - 1)
    assert not count(app)
    assert told() == (1, EVERY_SECONDS - 1)

    clock.move(1)
    assert count(app)
    assert told() == (2, 0)


@pytest.mark.held_time
def test_a_count_from_a_wrong_clock_is_renewed(
    app: Flask, new_connected: MakeConnected, clock: HeldClock
) -> None:
    """The clock was ahead when it was counted, or when the lease was taken."""
    new_connected("ada")
    clock.move(9_000)
    count(app)
    clock.move(-9_000)

    with app.app_context():
        assert connections.current().counts.are_due()
        assert count(app)
        assert not connections.current().counts.are_due()


@pytest.mark.held_time
def test_of_several_workers_one_counts(
    app: Flask, new_connected: MakeConnected, clock: HeldClock
) -> None:
    """The others leave it to the one with the lease. One that hangs stores nothing afterwards."""
    new_connected("ada")
    with app.app_context():
        counts = connections.current().counts
        hanging = Overtaken(counts, LEASE_SECONDS, clock)
        late = Counts(db.engine, clock, hanging)

        assert not late.renew()
        assert hanging.meanwhile == [False, True]
        last = counts.last()
    assert last
    assert last.numbers[Status.ACTIVE] == 1


class Overtaken(Overview):
    """Counts for so long that another worker counts as well."""

    def __init__(self, counts: Counts, seconds: float, clock: HeldClock) -> None:
        super().__init__(db.engine, clock)
        self.meanwhile: list[bool] = []
        self._counts = counts
        self._seconds = seconds
        self._held = clock

    def counts(self) -> Mapping[Status, int]:
        self.meanwhile.append(self._counts.renew())
        self._held.move(self._seconds)
        self.meanwhile.append(self._counts.renew())
        return dict.fromkeys(Status, 1000)


def test_a_refresh_that_fails_for_long_shows(
    app: Flask, client: FlaskClient, sandbox: Sandbox, environ: dict[str, str]
) -> None:
    """R-25: for how long; what nobody has tried is not overdue, nor what has ended."""
    tried, not_tried = (Connected(app, sandbox, environ, name) for name in ("ada", "bea"))
    ended = Connected(app, sandbox, environ, "cleo")
    tried.change(renew_at=-7200.0)
    not_tried.change(renew_at=-90_000.0)
    ended.change(renew_at=-90_000.0, status="reconnect_needed", reason=Reason.GRANT_ENDED)
    with app.app_context():
        for one in (tried, ended):
            update = text("UPDATE connections SET failures = 3 WHERE user_id = :user_id")
            db.session.execute(update, {"user_id": one.user_id})
        db.session.commit()

    told = values(client.get("/metrics", headers=BEARER).get_data(as_text=True))

    assert told["katana_oldest_overdue_refresh_age_seconds",] // 60 == 120


def test_each_gauge_is_read_by_an_index(app: Flask) -> None:
    """However many connections there are, a scrape reads no table from end to end."""
    with app.app_context():
        fleet = connections.current()
        plans = plans_of(db.engine, partial(read, fleet))

    assert len(plans) == 5
    assert not any(re.search("SCAN connections$|Seq Scan", plan, re.M) for plan in plans), plans
    assert any("ix_connections_overdue" in plan for plan in plans), plans


def plans_of(engine: Engine, during: Callable[[], object]) -> list[str]:
    """How the database means to find what is read meanwhile."""
    with statements(engine) as asked:
        during()
    with engine.connect() as connection:
        sqlite = engine.dialect.name == "sqlite"
        if not sqlite:  # the tables are empty, which no index helps with
            connection.exec_driver_sql("SET enable_seqscan = off")
        how = "EXPLAIN QUERY PLAN" if sqlite else "EXPLAIN"
        return [
            "\n".join(str(row[-1]) for row in connection.exec_driver_sql(f"{how} {sql}", values))
            for sql, values in asked
        ]


def test_an_incident_shows(
    app: Flask, client: FlaskClient, sandbox: Sandbox, environ: dict[str, str]
) -> None:
    """R-13: that Katana refuses everybody is an alarm."""
    for number in range(5):
        Connected(app, sandbox, environ, f"maker{number}").change(
            refused_at=0.0, refreshed_at=-60.0
        )

    told = values(client.get("/metrics", headers=BEARER).get_data(as_text=True))

    assert told["katana_incident",] == 1


@pytest.mark.own_stage
def test_without_a_database_the_counters_are_still_told(app: Flask, client: FlaskClient) -> None:
    """An outage is the worst moment to know nothing."""
    with app.app_context():
        db.session.execute(text("ALTER TABLE connections RENAME TO elsewhere"))
        db.session.commit()

    told = values(client.get("/metrics", headers=BEARER).get_data(as_text=True))

    assert told["katana_database_up",] == 0
    assert told["katana_refreshes_total", "ok"] == 0
    assert ("katana_incident",) not in told


def test_every_failure_of_a_refresh_has_an_outcome() -> None:
    """No refresh is counted under a word that nobody knows of."""
    classes = errors.LoginError.__subclasses__()
    words = {
        "".join(f"_{c.lower()}" if c.isupper() else c for c in kind.__name__)[1:]
        for kind in classes
    }

    assert words <= set(RefreshOutcome)
    assert {outcome_of(ended(reason)) for reason in Reason} == {"ended", "lost"}


def ended(reason: Reason) -> Event:
    """The end of somebody's connection."""
    return Event(EventKind.RECONNECT_NEEDED, 1, SOMEBODY, reason)


@pytest.mark.one_database
def test_a_refresh_that_took_over_is_counted(app: Flask, client: FlaskClient) -> None:
    """R-25: a worker that died or hung shows."""
    event = Event(EventKind.REFRESHED, 1, SOMEBODY, "recovered", 0.2, took_over=True)

    signal(event.kind).send(event)

    told = values(client.get("/metrics", headers=BEARER).get_data(as_text=True))
    assert told["katana_lease_takeovers_total",] == 1
    assert told["katana_refreshes_total", "recovered"] == 1
