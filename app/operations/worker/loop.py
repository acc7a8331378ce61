"""Runs due jobs in threads until a stop is requested."""

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Protocol

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from app.database.clock import monotonic
from app.operations.worker import Job, Key, attempt

LOOK_SECONDS = 0.5  # between two passes over the jobs, if nothing ends before
AFTER_FAILURE_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Stop(Protocol):
    """Tells when to stop, and waits until then."""

    def asked(self) -> bool:
        """Whether to start no more work."""

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, or earlier on `wake` or on a request to stop."""

    def wake(self) -> None:
        """End a wait."""


class Worker:
    """One worker process."""

    def __init__(self, app: Flask, jobs: Sequence[Job], threads: int, stop: Stop) -> None:
        self._app = app
        self._jobs = jobs
        self._threads = threads
        self._stop = stop
        self._next_look = dict.fromkeys((job.name for job in jobs), 0.0)
        self._running: set[tuple[str, Key]] = set()

    def run(self) -> None:
        """Work until a stop is requested. Work in progress ends at the next safe point."""
        with ThreadPoolExecutor(self._threads) as executor:
            while not self._stop.asked():
                for job in self._jobs:
                    self._begin_due(job, executor)
                self._stop.wait(LOOK_SECONDS)

    def _begin_due(self, job: Job, executor: ThreadPoolExecutor) -> None:
        most = min(job.at_once or self._threads, self._threads)
        free = min(
            self._threads - len(self._running),
            most - sum(name == job.name for name, _ in list(self._running)),
        )
        if free <= 0 or monotonic() < self._next_look[job.name]:
            return

        self._next_look[job.name] = monotonic() + job.every
        keys = [key for key in self._due(job) if (job.name, key) not in self._running]
        for key in keys[:free]:
            self._running.add((job.name, key))
            future = executor.submit(copy_context().run, self._do, job, key)
            future.add_done_callback(partial(self._end, (job.name, key)))
        if len(keys) > free:
            self._next_look[job.name] = 0.0  # more is due: look again when a thread is free

    def _due(self, job: Job) -> Sequence[Key]:
        try:
            with self._app.app_context():
                return job.due(2 * self._threads)
        except SQLAlchemyError as error:
            logger.error("%s: the database failed (%s)", job.name, type(error).__name__)
        except Exception:  # a failing job must not stop the others
            logger.exception("%s cannot say what is due", job.name)
        self._next_look[job.name] = monotonic() + AFTER_FAILURE_SECONDS
        return ()

    def _do(self, job: Job, key: Key) -> None:
        attempt(self._app, job, key, self._stop.asked)

    def _end(self, done: tuple[str, Key], _future: Future[None]) -> None:
        self._running.discard(done)
        self._stop.wake()
