"""Background work: one table of jobs, and the loop that does them.

`flask worker` runs it. Any number of workers may run, on any number of hosts: each job claims its
row in the database, so a job that two workers start is done once. Another task queue can do the
same jobs, as `celery_tasks` does: call `due`, and pass the keys to processes that call `attempt`.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from app import connections, mail, sync
from app.errors import NotConnected

#: A connection that was not refreshed for so long is refreshed, before its refresh token expires.
IDLE_SECONDS = 7 * 24 * 3600.0

#: Identifies one item of work. Strings, so that any task queue can transport it.
Key = tuple[str, ...]
Stopped = Callable[[], bool]

ONE: Sequence[Key] = [("all",)]  # the key of a job with a single item

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One kind of background work."""

    name: str
    #: Seconds between two calls of `due`.
    every: float
    #: How many items one worker does at once; 0: as many as it has threads.
    at_once: int
    #: Returns at most so many keys that are due now.
    due: Callable[[int], Sequence[Key]]
    #: Does one item, if it is still due. If `Stopped` is true, it ends at the next safe point.
    do: Callable[[Key, Stopped], object]


def jobs() -> Sequence[Job]:
    """All jobs. `sync` is last: it uses the threads that are left. Needs an app context."""
    fleet, mails = connections.current(), mail.current()

    def count_is_due(_: int) -> Sequence[Key]:
        return ONE if fleet.counts.are_due() else ()

    def idle(limit: int) -> Sequence[UUID]:
        return fleet.idle.due(fleet.idle.moment(IDLE_SECONDS), limit)

    return (
        Job("count", 10, 1, count_is_due, lambda *_: fleet.counts.renew()),
        Job("keep-alive", 60, 2, _each(idle), _one(fleet.keep_alive.renew)),
        Job("mail", 5, 2, _each(mails.due), _one(mails.send)),
        *_sync_jobs(),
    )


def _sync_jobs() -> Sequence[Job]:
    synced = sync.current()

    def read(key: Key, stopped: Stopped) -> None:
        synced.reading.work(UUID(key[0]), key[1], stopped)

    return (
        Job("clear", 3600, 1, lambda _: ONE, _until_done(synced.changes.clear)),
        Job("rest", 60, 1, lambda _: ONE, _until_done(synced.accounts.put_off_ended)),
        Job("begin", 60, 1, _each(synced.accounts.unknown), _one(synced.accounts.begin)),
        Job("webhooks", 0.5, 2, _each(synced.subscriptions.due), _one(synced.subscriptions.check)),
        Job("outbox", 0.5, 2, _each(synced.outgoing.due), _one(synced.outgoing.send)),
        Job(
            "sync", 0.5, 0, lambda limit: [(str(i), n) for i, n in synced.cursors.due(limit)], read
        ),
    )


def attempt(app: Flask, job: Job, key: Key, stopped: Stopped) -> None:
    """Do one item in its own app context. Log each failure: it must not end the worker."""
    try:
        with app.app_context():
            job.do(key, stopped)
    except NotConnected:
        logger.info("%s of %s: disconnected meanwhile", job.name, key[0])
    except SQLAlchemyError as error:
        logger.error("%s: the database failed (%s)", job.name, type(error).__name__)
    except Exception:
        logger.exception("%s failed", job.name)


def _each(due: Callable[[int], Sequence[UUID]]) -> Callable[[int], Sequence[Key]]:
    return lambda limit: [(str(one),) for one in due(limit)]


def _one(do: Callable[[UUID], object]) -> Callable[[Key, Stopped], object]:
    return lambda key, _: do(UUID(key[0]))


def _until_done(some: Callable[[], bool]) -> Callable[[Key, Stopped], object]:
    """Do one batch after the other, until `some` returns False."""

    def do(_: Key, stopped: Stopped) -> None:
        while not stopped() and some():
            pass

    return do
