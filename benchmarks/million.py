"""What a million connections cost operators, workers and one user, compared with a thousand."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import Any

from flask import Flask, session
from flask.testing import FlaskClient

from app import connections, sync
from app.accounts import sessions
from app.connections.fleet.overview import BATCH
from app.database.db import db
from app.operations.worker import IDLE_SECONDS, jobs
from benchmarks import databases, fleet
from benchmarks.measuring import Measured, in_turn
from benchmarks.question import Task
from benchmarks.results import Aim, Answer, Table
from tests.support.commands import run
from tests.support.statements import statements

METRICS_TOKEN = secrets.token_hex(32)
BEARER = {"Authorization": f"Bearer {METRICS_TOKEN}"}
SETTINGS = {
    "METRICS_TOKEN": METRICS_TOKEN,
    "SMTP_URL": "smtp://localhost:1",
    "MAIL_FROM": "app@workshop.example",
}
FEW = 1000
ASKED = 16  # keys: a worker with 8 threads requests so many from each job
TIMES = 1.5
MOST_ROWS = 1000  # for one step of a plan: a batch

Work = Callable[[], object]


@dataclass(frozen=True)
class Step:
    """One scan of a table or an index, and how many rows it read."""

    what: str
    rows: int


@dataclass(frozen=True)
class Plan:
    """PostgreSQL's plan for one statement."""

    verb: str
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        looks = ", ".join(f"{step.what} ({step.rows})" for step in self.steps)
        return f"{self.verb} {looks}"


def measure(task: Task) -> Answer:
    """Fill a small and a large database, and measure both in turn."""
    many, rounds = task.size((1_000_000, 25), (20_000, 8))
    with ExitStack() as stack:
        small, large = (stack.enter_context(_fleet(task, size)) for size in (FEW, many))
        works = {small: entries(small, FEW), large: entries(large, many)}
        plans = {name: plans_of(large, work) for name, work in works[large].items()}
        timed = {
            (name, app): partial(_seconds, app, works[app][name])
            for name, found in plans.items()
            if found  # else it sends no statement
            for app in works
        }
        timed["count", large] = partial(_seconds, large, _count)
        in_turn(timed, rounds=3)  # to warm up
        # Half of the rounds start with the large one, because the second one finds warm caches.
        seconds = in_turn(timed, rounds=rounds)
        backwards = in_turn(dict(reversed(timed.items())), rounds=rounds)
    took = {
        (name, app is large): Measured((*seconds[name, app], *backwards[name, app]))
        for name, app in timed
    }
    return _answer(took, plans, many)


def entries(app: Flask, size: int) -> Mapping[str, Work]:
    """What is measured in a fleet of this size, by name. Call each in its own app context."""
    with app.app_context():
        parts, synced = connections.current(), sync.current()
        before = parts.idle.moment(IDLE_SECONDS)
        looks = {f"worker: {job.name}": partial(job.due, ASKED) for job in jobs()}
    operator, maker = app.test_client(), _signed_in(app, _well(size // 2))
    leaving = filter(fleet.is_well, count(size // 3))
    return {
        "/metrics": partial(_get, operator, "/metrics", BEARER),
        "/readyz": partial(_get, operator, "/readyz", {}),
        "connections list, first page": lambda: list(islice(parts.overview.lines(), BATCH)),
        "connections show": partial(_show, app, fleet.email_of(size // 2)),
        "keep-alive, first batch": lambda: next(parts.idle.batches(before)),
        **looks,
        "worker: rest, done": synced.accounts.put_off_ended,
        "the session of a sign-in": partial(_begin_session, app, size // 2),
        "dashboard": partial(_get, maker, "/dashboard", {}),
        "disconnect": lambda: _disconnect(next(leaving)),
    }


def plans_of(app: Flask, work: Work) -> Sequence[Plan]:
    """The plans of the statements that `work` executes."""
    with app.app_context():
        with statements(db.engine) as sent:
            work()
        plans = [plan for sql, given in sent if (plan := _plan(sql, given)) and plan.steps]
    return list(dict.fromkeys(plans))


@contextmanager
def _fleet(task: Task, size: int) -> Iterator[Flask]:
    with task.databases.app("postgresql", f"fleet{size}", SETTINGS) as app:
        fleet.fill(db.engine, 1, size)
        connections.current().counts.renew()
        databases.settle(db.engine)
        yield app


def _seconds(app: Flask, work: Work) -> float:
    began = time.perf_counter()
    with app.app_context():
        work()
    return time.perf_counter() - began


def _well(number: int) -> int:
    return next(filter(fleet.is_well, count(number)))


def _signed_in(app: Flask, number: int) -> FlaskClient:
    signer = app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]
    with app.test_request_context():
        sessions.begin(number)
        cookie = signer.dumps(dict(session))
    client = app.test_client()
    client.set_cookie(app.config["SESSION_COOKIE_NAME"], cookie)
    return client


def _get(client: FlaskClient, path: str, headers: Mapping[str, str]) -> None:
    answer = client.get(path, headers=headers)
    assert answer.status_code == 200, f"{path} answers {answer.status_code}"


def _show(app: Flask, email: str) -> None:
    assert email in run(app, "connections", "show", email).output


def _begin_session(app: Flask, number: int) -> None:
    with app.test_request_context():
        sessions.begin(number)


def _disconnect(number: int) -> None:
    assert connections.current().lifecycle.disconnect(number)


def _count() -> None:
    connections.current().overview.counts()


def _plan(sql: str, given: Any) -> Plan | None:
    verb = sql.split(maxsplit=1)[0]
    if verb == "WITH":
        verb = "UPDATE"
    if verb not in {"SELECT", "UPDATE", "DELETE"}:
        return None

    with db.engine.connect() as database:  # rolled back at the end
        how = "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON)"
        ((plan,),) = database.exec_driver_sql(f"{how} {sql}", given)
    return Plan(verb, tuple(step for node in plan for step in _steps(node["Plan"])))


def _steps(node: Mapping[str, Any]) -> Iterator[Step]:
    what = node.get("Index Name") or node.get("Relation Name")
    if "Scan" in node["Node Type"] and what and node["Node Type"] != "Bitmap Heap Scan":
        per_loop = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        whole = "" if "Index" in node["Node Type"] else "all of "
        yield Step(f"{whole}{what}", round(per_loop * node["Actual Loops"]))
    for part in node.get("Plans", ()):
        yield from _steps(part)


def _answer(
    took: Mapping[tuple[str, bool], Measured], plans: Mapping[str, Sequence[Plan]], many: int
) -> Answer:
    measured = [name for name, found in plans.items() if found]
    ratios = {name: took[name, True].median / took[name, False].median for name in measured}
    worst = max(ratios, key=lambda name: ratios[name])
    steps = [step for found in plans.values() for plan in found for step in plan.steps]
    most = max(steps, key=lambda step: step.rows)
    counted = took["count", True]
    return Answer(
        question="What do a million connections cost?",
        how=(
            f"Two databases on one PostgreSQL, with {FEW:,} and with {many:,} connections and what "
            "hangs on each: a user, a browser session, a webhook, cursors, a budget, orders, a "
            "history; some had a mail. One in 33 has ended, of one in a hundred a refresh and the "
            "lists fail; as many are due in both. Each line is asked in the process, of the small "
            "and the large one in turn; medians. The first page of the list has "
            f"{BATCH} lines. A line of the worker is how a job finds what is due; jobs that always "
            "are due ask nothing and are left out. A dashboard is read from the copy. The second "
            "table has each statement as PostgreSQL ran it on the large one: the indexes that it "
            "looked in, and in brackets how many rows it read there. Those of a disconnect ran "
            "once more when the connection was gone."
        ),
        tables=[
            Table(
                head=["", f"{FEW:,} connections", f"{many:,}", "middle half", "ratio"],
                rows=[
                    [
                        name,
                        _ms(took[name, False].median),
                        _ms(took[name, True].median),
                        " to ".join(map(_ms, took[name, True].spread)),
                        f"{ratio:.2f}",
                    ]
                    for name, ratio in ratios.items()
                ],
            ),
            Table(
                title="The statements",
                head=["", "statement and rows read"],
                rows=[[name, str(plan)] for name, found in plans.items() for plan in found],
            ),
        ],
        aims=[
            Aim(
                f"With {many:,} connections nothing takes more than {TIMES} times as long",
                f"{ratios[worst]:.2f} ({worst})",
                ratios[worst] <= TIMES,
            ),
            Aim(
                f"No statement looks at more than {MOST_ROWS:,} rows of a table",
                f"{most.rows:,} ({most.what})",
                most.rows <= MOST_ROWS,
            ),
        ],
        notes=[
            f"Counting {many:,} connections takes {counted.median * 1000:.0f} ms. One worker does "
            "it once a minute, and `/metrics` reads the number from one row."
        ],
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"
