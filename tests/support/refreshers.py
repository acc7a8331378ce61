"""Starts refresher processes, and reads their output."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID

from app.settings.config import ROOT

END_SECONDS = 90


class Refresher:
    """One process of tests/support/refresher.py."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def said(self) -> dict[str, Any]:
        """Wait for the next line of its output."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, f"the process ended with {self.process.wait(END_SECONDS)}"
        said: dict[str, Any] = json.loads(line)
        return said

    def start(self, refused: str | None = None) -> None:
        """Start a round."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"refused": refused}) + "\n")
        self.process.stdin.flush()

    def results(self) -> list[dict[str, Any]]:
        """All output until the end of the round."""
        said = []
        while (one := self.said()) != {"done": True}:
            said.append(one)
        return said


@contextmanager
def refreshing(
    environ: Mapping[str, str], connection_id: UUID, **task: object
) -> Iterator[Refresher]:
    """A process with this task, ready to start."""
    process = subprocess.Popen(
        (sys.executable, "-m", "tests.support.refresher"),
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    process.stdin.write(json.dumps({"connection_id": str(connection_id), **task}) + "\n")
    process.stdin.flush()
    refresher = Refresher(process)
    try:
        yield refresher
    finally:
        process.kill()
        process.communicate()


class Crowd:
    """Many processes, each with many threads."""

    def __init__(self, refreshers: list[Refresher]) -> None:
        self._refreshers = refreshers

    def ask_at_once(self, refused: str | None = None) -> list[dict[str, Any]]:
        """Start all of them at once; their results."""
        for refresher in self._refreshers:
            refresher.start(refused)
        return [said for refresher in self._refreshers for said in refresher.results()]


@contextmanager
def crowd(
    environ: Mapping[str, str], connection_id: UUID, *, processes: int, threads: int
) -> Iterator[Crowd]:
    """Processes that all need the token of one connection, ready to start."""
    with ExitStack() as stack:
        refreshers = [
            stack.enter_context(refreshing(environ, connection_id, threads=threads))
            for _ in range(processes)
        ]
        for refresher in refreshers:
            assert refresher.said() == {"ready": True}
        yield Crowd(refreshers)
