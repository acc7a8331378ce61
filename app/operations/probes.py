"""Queries the database with a time limit, for probes.

A statement timeout ends a slow statement. It does not help if the database process is stopped, or
if the network drops all packets: then the caller hangs. So the query runs in its own thread. There
is only one at a time, and all callers share it.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Generic, TypeVar

PATIENCE_SECONDS = 3.0  # shorter than the timeout of a usual probe
GIVEN_UP_SECONDS = 30.0  # after this a hanging query is given up, and a new one may succeed

Answer = TypeVar("Answer")


class Question(Generic[Answer]):
    """A query that is repeated again and again."""

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask = ask
        self._lock = Lock()
        self._pending: Future[Answer] | None = None
        self._asked = 0.0

    def answer(self) -> Answer:
        """The result. Raises TimeoutError if it takes too long, and the errors of the query."""
        with self._lock:
            given_up = time.monotonic() > self._asked + GIVEN_UP_SECONDS
            if self._pending is None or self._pending.done() or given_up:
                self._pending = _begin(self._ask)
                self._asked = time.monotonic()
            pending = self._pending
        return pending.result(PATIENCE_SECONDS)


def _begin(ask: Callable[[], Answer]) -> Future[Answer]:
    future: Future[Answer] = Future()

    def run() -> None:
        try:
            future.set_result(ask())
        except Exception as error:  # it is raised in the thread that waits
            future.set_exception(error)

    # A daemon thread: a worker that is stopping does not wait for a database that hangs.
    Thread(target=run, daemon=True).start()
    return future
