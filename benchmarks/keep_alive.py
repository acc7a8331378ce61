"""How fast many tokens are refreshed before they expire, and with how much memory."""

import cProfile
import json
import os
import pstats
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import event

from app import connections
from app.connections.fleet.keep_alive import Idle, Outcome
from app.database.clock import SystemClock
from app.database.db import db
from app.settings.config import ROOT
from benchmarks import databases
from benchmarks.peers import Pair
from benchmarks.peers.this_app import ThisApp
from benchmarks.question import Task
from benchmarks.results import Aim, Answer, Bar, Chart, Table
from benchmarks.token_endpoint import login, pair

ENDPOINT_SECONDS = 0.05
IN_FLIGHT = 32
LIFE_SECONDS = 24 * 3600
WEEK_SECONDS = 7 * 24 * 3600
END_SECONDS = 300
#: The parts of a refresh: file and function.
PARTS = {
    "all": ("refresh.py", "try_refresh"),
    "ask whether there is an incident": ("circuit_breaker.py", "allows_request"),
    "claim the lease": ("leases.py", "claim"),
    "send the refresh token": ("oauth.py", "refresh"),
    "seal the answer": ("sealed_grant.py", "seal"),
    "save it": ("leases.py", "save"),
    "log and announce it": ("leases.py", "record"),
}


@dataclass(frozen=True)
class Host:
    """The result of one process."""

    began: float
    ended: float
    cpu: float
    memory: int  # peak, in bytes
    counts: dict[str, int]


@dataclass(frozen=True)
class Run:
    """The result of all hosts together."""

    connections: int
    hosts: list[Host]
    machine: float  # use of all processors by all processes, from 0 to 1

    @property
    def seconds(self) -> float:
        """From the first start to the last end."""
        return max(host.ended for host in self.hosts) - min(host.began for host in self.hosts)

    @property
    def ideal(self) -> float:
        """The least possible seconds: all slots are always waiting for a response."""
        return self.connections * ENDPOINT_SECONDS / IN_FLIGHT / len(self.hosts)

    @property
    def cpu_share(self) -> float:
        """The share of one processor that each host used, on average."""
        return sum(host.cpu for host in self.hosts) / self.seconds / len(self.hosts)


def measure(task: Task) -> Answer:
    """Seconds, processor and memory with one host and with two; the plan with a million rows."""
    few, many = task.size((5000, 10_000), (100, 500))
    runs = [_run(task, few, 1), _run(task, many, 1), _run(task, many, 2)]
    plan, rows = _plan(task)
    one, memory = runs[1], [run.hosts[0].memory for run in runs[:2]]
    within = one.seconds / one.ideal
    return Answer(
        question="How fast are very many connections kept alive?",
        how=(
            f"What `flask connections keep-alive` does with connections that nobody has renewed "
            f"for a month, on PostgreSQL, {IN_FLIGHT} in flight, against a login server that "
            f"answers in {ENDPOINT_SECONDS * 1000:.0f} ms. The ideal is connections times latency, "
            "by those in flight on all hosts. A host is a process; here hosts, database and login "
            f"server share {os.cpu_count()} processors."
        ),
        tables=[
            Table(
                head=[
                    "",
                    "seconds",
                    "ideal",
                    "times the ideal",
                    "renewed a second",
                    "processor of a host",
                    "all processors",
                    "memory of a host",
                ],
                rows=[_row(run) for run in runs],
                chart=Chart(
                    "keep_alive",
                    f"Renewing {many:,} connections",
                    "s",
                    [
                        Bar("ideal, one host", one.ideal),
                        *(Bar(_name(run), run.seconds, True) for run in runs[1:]),
                    ],
                ),
            ),
            _profile(task),
            Table(title=f"How a batch is found among {rows:,} rows", head=["plan"], rows=plan),
        ],
        aims=[
            Aim(
                "Within 1.3 times the ideal, or as fast as the processor lets it",
                f"{within:.2f} times; the host used {one.cpu_share * 100:.0f} % of the one "
                f"processor that Python gives it, and {one.machine * 100:.0f} % of all were in use",
                within <= 1.3 or max(one.cpu_share, one.machine) > 0.9,
            ),
            Aim(
                "Memory does not grow with the number",
                f"{_megabytes(memory[1])} for {many:,}, {_megabytes(memory[0])} for {few:,}",
                memory[1] < memory[0] * 1.1,
            ),
            Aim(
                f"A batch is found by its index among {rows:,} rows",
                "index scan" if _by_index(plan) else "no index",
                _by_index(plan),
            ),
        ],
    )


def _run(task: Task, number: int, hosts: int) -> Run:
    with login(ENDPOINT_SECONDS) as server:
        settings = {
            "KATANA_ACCESS_TOKEN_URL": f"{server.url}/oauth/token",
            "TOKEN_ENCRYPTION_KEYS": databases.environ("")["TOKEN_ENCRYPTION_KEYS"],
        }
        with task.databases.app("postgresql", f"idle_{number}_{hosts}", settings) as app:
            ours = ThisApp.current()
            ours.store({n: Pair(*pair(n, 0)) for n in range(1, number + 1)}, -1)
            databases.settle(ours.engine)
            url = app.config["SQLALCHEMY_DATABASE_URI"]
            psutil.cpu_percent()  # starts the measurement
            did = _hosts(url, settings, hosts)
            run = Run(number, did, psutil.cpu_percent() / 100)
        renewed = sum(host.counts.get(Outcome.RENEWED.name, 0) for host in run.hosts)
        if (renewed, server.sent(), server.alive()) != (number, number, number):
            raise AssertionError(f"{renewed} of {number} renewed, {server.sent()} sent")

    return run


def _hosts(url: str, settings: Mapping[str, str], number: int) -> list[Host]:
    environ = databases.environ(url) | settings
    started = [
        subprocess.Popen(
            (sys.executable, "-m", "benchmarks.keep_alive"),
            cwd=ROOT,
            env={**os.environ, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(number)
    ]
    try:
        for host in started:
            assert host.stdout
            assert host.stdout.readline() == "ready\n"
        for host in started:
            assert host.stdin
            host.stdin.write("go\n")
            host.stdin.flush()
        return [Host(**json.loads(host.communicate(timeout=END_SECONDS)[0])) for host in started]
    finally:
        for host in started:
            host.kill()
            host.communicate()


def host() -> None:
    """One host: refresh all idle connections, as the command does."""
    from app import create_app  # after the settings of this process are set

    with create_app(os.environ).app_context():
        fleet = connections.current()
        print("ready", flush=True)
        sys.stdin.readline()
        began, used = time.monotonic(), time.process_time()
        before = fleet.idle.moment(WEEK_SECONDS)
        # Measured after each refresh: on Linux the peak that the system reports includes the memory
        # of the parent process.
        process, memory = psutil.Process(), 0
        counts: Counter[str] = Counter()
        for outcome in fleet.keep_alive.run(before, IN_FLIGHT, lambda: False):
            counts[outcome.name] += 1
            memory = max(memory, process.memory_info().rss)
        told = Host(began, time.monotonic(), time.process_time() - used, memory, dict(counts))
        db.engine.dispose()
    print(json.dumps(asdict(told)), flush=True)


def _profile(task: Task) -> Table:
    """The processor time of each part of a refresh, in milliseconds, in one thread."""
    number = task.size(500, 100)
    with login(0) as server:
        settings = {"KATANA_ACCESS_TOKEN_URL": f"{server.url}/oauth/token"}
        with task.databases.app("postgresql", "profile", settings):
            ThisApp.current().store({n: Pair(*pair(n, 0)) for n in range(1, number + 1)}, -1)
            parts = connections.current()
            before = parts.idle.moment(WEEK_SECONDS)
            seen = [one for batch in parts.idle.batches(before) for one in batch]
            profile = cProfile.Profile(time.process_time)
            renewed = [profile.runcall(parts.refresh.try_refresh, one) for one in seen]
    assert all(renewed)
    assert len(renewed) == number
    spent = {name: seconds / number * 1000 for name, seconds in _spent(profile).items()}
    whole = spent.pop("all")
    shares = spent | {"the rest": whole - sum(spent.values())}
    return Table(
        title="Where the processor's time goes in one renewal, slowed by being profiled",
        head=["", "ms", "share"],
        rows=[
            [name, f"{ms:.2f}", f"{ms / whole * 100:.0f} %"]
            for name, ms in (shares | {"**all**": whole}).items()
        ],
        chart=Chart(
            "renewal",
            "Where the processor's time goes in one renewal",
            "ms",
            [Bar(name, ms, True) for name, ms in shares.items()],
        ),
    )


def _spent(profile: cProfile.Profile) -> dict[str, float]:
    stats: Any = pstats.Stats(profile)
    by_place = {
        (Path(file).name, function): total
        for (file, _, function), (_, _, _, total, _) in stats.stats.items()
    }
    return {name: by_place[place] for name, place in PARTS.items()}


def _plan(task: Task) -> tuple[list[list[str]], int]:
    """PostgreSQL's plan for the second batch among many rows."""
    rows = task.size(1_000_000, 20_000)
    with task.databases.app("postgresql", "plan"):
        engine, clock = db.engine, SystemClock()
        databases.fill(engine, 1, rows)
        databases.settle(engine)
        idle = Idle(engine, clock)
        batches = idle.batches(idle.moment(WEEK_SECONDS))
        next(batches)
        sent: list[tuple[str, Any]] = []

        def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            sent.append((statement, parameters))

        event.listen(engine, "before_cursor_execute", note)
        next(batches)
        event.remove(engine, "before_cursor_execute", note)
        ((statement, parameters),) = sent
        with engine.connect() as connection:
            told = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars()
            plan = [[f"`{line}`"] for line in told]
    return plan, rows


def _by_index(plan: list[list[str]]) -> bool:
    text_ = " ".join(line for (line,) in plan)
    return "Index Scan" in text_ and "Seq Scan" not in text_ and "Sort" not in text_


def _name(run: Run) -> str:
    hosts = len(run.hosts)
    return f"{run.connections:,} connections, {'one host' if hosts == 1 else f'{hosts} hosts'}"


def _row(run: Run) -> list[str]:
    return [
        _name(run),
        f"{run.seconds:.1f}",
        f"{run.ideal:.1f}",
        f"{run.seconds / run.ideal:.2f}",
        f"{run.connections / run.seconds:,.0f}",
        f"{run.cpu_share * 100:.0f} %",
        f"{run.machine * 100:.0f} %",
        _megabytes(max(host.memory for host in run.hosts)),
    ]


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.0f} MB"


if __name__ == "__main__":
    host()
