"""Ask the database, and do not wait for ever: for those who want to know whether it answers.

A statement timeout ends what a database is slow with. It ends nothing where the database's process
has stopped, or the network drops everything: then whoever asks hangs. So the question is asked in a
thread of its own, one at a time, however many come with it meanwhile.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Generic, TypeVar

PATIENCE_SECONDS = 3.0  # less than any probe gives us
GIVEN_UP_SECONDS = 30.0  # after which one that hangs is asked anew: another connection may do

Answer = TypeVar("Answer")


class Question(Generic[Answer]):
    """What is asked again and again."""

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask = ask
        self._lock = Lock()
        self._pending: Future[Answer] | None = None
        self._asked = 0.0

    def answer(self) -> Answer:
        """The answer. Raises TimeoutError where none comes in time, and what asking raises."""
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
        except Exception as error:  # it is raised where the answer is waited for
            future.set_exception(error)

    # A daemon: a worker that is asked to end does not wait for a database that hangs.
    Thread(target=run, daemon=True).start()
    return future
