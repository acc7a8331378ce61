"""Whether requests are slower while a token is refreshed before it expires."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from app.connections.history import signal
from app.connections.models import EventKind
from benchmarks.measuring import percentile
from benchmarks.peers import Pair
from benchmarks.peers.this_app import ThisApp
from benchmarks.question import Task
from benchmarks.results import Aim, Answer, Bar, Chart, Table
from benchmarks.token_endpoint import login, pair

THREADS, CALLS_PER_SECOND = 8, 400
ENDPOINT_SECONDS = 0.1
LIFE_SECONDS = 4
NOTICED_SECONDS = ENDPOINT_SECONDS / 2  # a slower call has waited for the refresh
USER = 1
ENGINES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
HEAD = ["", "calls", "p50", "p99", "longest"]
CALM, BESIDE, RENEWING = "nothing is renewed", "beside a renewal", "the one that renews"


@dataclass(frozen=True)
class Call:
    """One call: its start and its duration, in seconds."""

    began: float
    took: float

    def meets(self, other: "Call") -> bool:
        """Whether both calls overlap in time."""
        return self.began < other.began + other.took and other.began < self.began + self.took


def measure(task: Task) -> Answer:
    """The latency of calls without a refresh, during a refresh, and of the refreshing call."""
    seconds, engines = task.size((20, list(ENGINES)), (5, ["postgresql"]))
    found = {engine: _measure(task, engine, seconds) for engine in engines}
    longest = max(call.took for kinds in found.values() for call in kinds[BESIDE])
    return Answer(
        question="Do requests notice that a token is being renewed?",
        how=(
            f"{THREADS} threads make {CALLS_PER_SECOND} calls a second for one user's token, for "
            f"{seconds} seconds. A token lives for {LIFE_SECONDS} seconds and is renewed ahead of "
            f"its end; the login server takes {ENDPOINT_SECONDS * 1000:.0f} ms. A call counts as "
            "beside a renewal if any part of it falls into the call that renews."
        ),
        tables=[_table(engine, kinds) for engine, kinds in found.items()],
        aims=[
            Aim(
                "No call but the one that renews waits",
                f"the longest beside a renewal took {longest * 1000:.1f} ms, "
                f"of {ENDPOINT_SECONDS * 1000:.0f} ms that a renewal takes",
                longest < NOTICED_SECONDS,
            )
        ],
    )


def _measure(task: Task, engine: str, seconds: float) -> dict[str, list[Call]]:
    calls: list[tuple[int, Call]] = []  # by thread
    renewed: list[tuple[int, float]] = []

    def note(*_args: object, **_told: object) -> None:
        renewed.append((threading.get_ident(), time.perf_counter()))

    with login(ENDPOINT_SECONDS, life=LIFE_SECONDS) as server:
        settings = {"KATANA_ACCESS_TOKEN_URL": f"{server.url}/oauth/token"}
        with (
            task.databases.app(engine, "expiry", settings),
            signal(EventKind.REFRESHED).connected_to(note),
        ):
            ours = ThisApp.current()
            ours.store({USER: Pair(*pair(USER, 0))}, -1)
            _load(ours, seconds, calls)
        family = server.family(USER)
    if not renewed or family.sent != len(renewed) or not family.alive:
        raise AssertionError(f"{family} after {len(renewed)} renewals")

    return _sort(calls, renewed)


def _load(ours: ThisApp, seconds: float, calls: list[tuple[int, Call]]) -> None:
    every = THREADS / CALLS_PER_SECOND
    start = time.perf_counter() + 0.1

    def work(place: int) -> None:
        due = start + place * every / THREADS
        while due < start + seconds:
            time.sleep(max(0, due - time.perf_counter()))
            began = time.perf_counter()
            ours.token(USER)
            calls.append((threading.get_ident(), Call(began, time.perf_counter() - began)))
            due = max(due + every, began)

    ours.token(USER)
    threads = [threading.Thread(target=work, args=(place,)) for place in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _sort(
    calls: Sequence[tuple[int, Call]], renewed: Sequence[tuple[int, float]]
) -> dict[str, list[Call]]:
    renewing = [
        call
        for thread, call in calls
        if any(who == thread and call.meets(Call(at, 0)) for who, at in renewed)
    ]
    others = [call for _, call in calls if call not in renewing]
    beside = [call for call in others if any(call.meets(renewer) for renewer in renewing)]
    during = set(beside)
    calm = [call for call in others if call not in during]
    return {CALM: calm, BESIDE: beside, RENEWING: renewing}


def _table(engine: str, kinds: dict[str, list[Call]]) -> Table:
    return Table(
        title=ENGINES[engine],
        head=HEAD,
        rows=[
            [name, f"{len(calls):,}", *(f"{_ms(calls, share):.2f} ms" for share in (0.5, 0.99, 1))]
            for name, calls in kinds.items()
        ],
        chart=Chart(
            f"running_at_expiry_{engine}",
            f"Latency at the 99th percentile, {ENGINES[engine]}",
            "ms",
            [Bar(name, _ms(calls, 0.99), name == BESIDE) for name, calls in kinds.items()],
        ),
    )


def _ms(calls: Sequence[Call], share: float) -> float:
    return percentile([call.took for call in calls], share) * 1000
