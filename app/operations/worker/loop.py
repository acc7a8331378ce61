"""Do what is due, in threads, until somebody asks to stop."""

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

LOOK_SECONDS = 0.5  # between two looks for what is due, where nothing ends before
AFTER_FAILURE_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Stop(Protocol):
    """Says when to stop, and waits until then."""

    def asked(self) -> bool:
        """Whether to begin nothing more."""

    def wait(self, seconds: float) -> None:
        """Return after so long, when woken, or as soon as somebody asks to stop."""

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
        """Work until asked to stop; what is under way then ends at the next safe place."""
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
            self._next_look[job.name] = 0.0  # there is more: look again when a thread is free

    def _due(self, job: Job) -> Sequence[Key]:
        try:
            with self._app.app_context():
                return job.due(2 * self._threads)
        except SQLAlchemyError as error:
            logger.error("%s: the database failed (%s)", job.name, type(error).__name__)
        except Exception:  # one job that fails must not keep the others from being done
            logger.exception("%s cannot say what is due", job.name)
        self._next_look[job.name] = monotonic() + AFTER_FAILURE_SECONDS
        return ()

    def _do(self, job: Job, key: Key) -> None:
        attempt(self._app, job, key, self._stop.asked)

    def _end(self, done: tuple[str, Key], _future: Future[None]) -> None:
        self._running.discard(done)
        self._stop.wake()
