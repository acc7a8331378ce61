"""Many processes with many threads that request one user's token at the same moment.

Each process is `python -m benchmarks.callers`, with a task as JSON on its standard input. It warms
up and says that it is ready. Each further line starts a round and names the user.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass

from app.settings.config import ROOT
from benchmarks.peers import Peer, peer

START_AFTER_SECONDS = 0.05  # after the line that starts a round: by then all processes have read it


@dataclass(frozen=True)
class Call:
    """The result of one call, with times of a clock that all processes share."""

    began: float
    ended: float
    token: str | None
    error: str | None


class Callers:
    """Processes that are ready to start."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def ask_at_once(self, number: int) -> list[Call]:
        """Let all of them request one user's token."""
        start = time.monotonic() + START_AFTER_SECONDS
        for process in self._processes:
            _say(process, {"number": number, "start": start})
        return [Call(**call) for process in self._processes for call in json.loads(_line(process))]


@contextmanager
def callers(
    name: str,
    database_url: str,
    login_url: str,
    *,
    processes: int,
    threads: int,
    warm_up: int,
    environ: Mapping[str, str],
) -> Iterator[Callers]:
    """Processes that use the peer with this name. They warm up with a user whose token is valid."""
    task = {
        "name": name,
        "database_url": database_url,
        "login_url": login_url,
        "threads": threads,
        "warm_up": warm_up,
    }
    with ExitStack() as stack:
        started = [stack.enter_context(_process(environ)) for _ in range(processes)]
        for process in started:
            _say(process, task)
        for process in started:
            assert json.loads(_line(process)) == "ready"
        yield Callers(started)


@contextmanager
def _process(environ: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        (sys.executable, "-m", "benchmarks.callers"),
        cwd=ROOT,
        env={**os.environ, **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # failures are counted; peers also log them
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _say(process: subprocess.Popen[str], said: object) -> None:
    assert process.stdin
    process.stdin.write(json.dumps(said) + "\n")
    process.stdin.flush()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    line = process.stdout.readline()
    assert line, f"a caller ended with {process.poll()}"
    return line


def main() -> None:
    """Run the task."""
    task = json.loads(sys.stdin.readline())
    asked = peer(task["name"], task["database_url"], task["login_url"])
    _round(asked, task["warm_up"], task["threads"], time.monotonic())
    _round(asked, task["warm_up"], task["threads"], time.monotonic())
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        said = json.loads(line)
        calls = _round(asked, said["number"], task["threads"], said["start"])
        print(json.dumps([asdict(call) for call in calls]), flush=True)


def _round(asked: Peer, number: int, threads: int, start: float) -> list[Call]:
    calls: list[Call] = []
    barrier = threading.Barrier(threads)

    def ask() -> None:
        barrier.wait()
        time.sleep(max(0, start - time.monotonic()))
        began = time.monotonic()
        token = error = None
        try:
            token = asked.call(number)
        except Exception as failure:  # any failure: the caller's user would see it
            error = type(failure).__name__
        calls.append(Call(began, time.monotonic(), token, error))

    asking = [threading.Thread(target=ask) for _ in range(threads)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    return calls


if __name__ == "__main__":
    main()
