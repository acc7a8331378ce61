"""What is done in the background: one table of jobs, and the loop that does them.

`flask worker` runs it. Any number may run, on any number of hosts: each job claims its row in the
database, so a job that two workers begin is done once. An engine of another kind can do the same
jobs, as `celery_tasks` does: ask `due`, and hand the keys to processes that call `attempt`.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from app import connections, mail, sync
from app.errors import NotConnected

DAY_SECONDS = 24 * 3600.0
IDLE_DAYS = 7  # a connection unused for so long is renewed, before its refresh token grows too old

#: What names one thing to do: texts, so that any engine can carry it.
Key = tuple[str, ...]
Stopped = Callable[[], bool]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One kind of work."""

    name: str
    #: Seconds between two looks for what is due.
    every: float
    #: How many of them one worker does at the same time; 0: as many as it has threads.
    at_once: int
    #: Up to so many keys of what is due now.
    due: Callable[[int], Sequence[Key]]
    #: Does one, if it is still to be done. Once `Stopped` says so, it ends at the next safe place.
    do: Callable[[Key, Stopped], object]


def jobs() -> Sequence[Job]:
    """All jobs, the rare ones first; call them within an app context."""
    return (
        Job("clear", 3600, 1, lambda _: [("changes",)], _clear),
        Job("count", 10, 1, _to_count, _count),
        Job("rest", 60, 1, lambda _: [("ended",)], _rest),
        Job("begin", 60, 1, _to_begin, _begin),
        Job("keep-alive", 60, 2, _idle, _keep_alive),
        Job("mail", 5, 2, _to_mail, _mail),
        Job("webhooks", 0.5, 2, _to_check, _check),
        Job("outbox", 0.5, 2, _to_send, _send),
        Job("sync", 0.5, 0, _to_read, _read),
    )


def attempt(app: Flask, job: Job, key: Key, stopped: Stopped) -> None:
    """Do one in a context of its own, and log what fails: it must not end the worker."""
    try:
        with app.app_context():
            job.do(key, stopped)
    except NotConnected:
        logger.info("%s of %s: disconnected meanwhile", job.name, key[0])
    except SQLAlchemyError as error:
        logger.error("%s: the database failed (%s)", job.name, type(error).__name__)
    except Exception:
        logger.exception("%s failed", job.name)


def _to_read(limit: int) -> Sequence[Key]:
    return [(str(owner), name) for owner, name in sync.current().cursors.due(limit)]


def _read(key: Key, stopped: Stopped) -> None:
    connection_id, resource = key
    sync.current().reading.work(UUID(connection_id), resource, stopped)


def _to_begin(limit: int) -> Sequence[Key]:
    return [(str(connection_id),) for connection_id in sync.current().accounts.unknown(limit)]


def _begin(key: Key, _: Stopped) -> None:
    sync.current().accounts.begin(UUID(key[0]))


def _to_check(limit: int) -> Sequence[Key]:
    return [(str(connection_id),) for connection_id in sync.current().subscriptions.due(limit)]


def _check(key: Key, _: Stopped) -> None:
    sync.current().subscriptions.check(UUID(key[0]))


def _to_send(limit: int) -> Sequence[Key]:
    return [(str(outbox_id),) for outbox_id in sync.current().outgoing.due(limit)]


def _send(key: Key, _: Stopped) -> None:
    sync.current().outgoing.send(UUID(key[0]))


def _to_count(_limit: int) -> Sequence[Key]:
    return [("connections",)] if connections.current().counts.are_due() else []


def _count(_key: Key, _: Stopped) -> None:
    connections.current().counts.renew()


def _idle(limit: int) -> Sequence[Key]:
    idle = connections.current().idle
    return [(str(one),) for one in idle.due(idle.moment(IDLE_DAYS * DAY_SECONDS), limit)]


def _keep_alive(key: Key, _: Stopped) -> None:
    connections.current().keep_alive.renew(UUID(key[0]))


def _to_mail(limit: int) -> Sequence[Key]:
    return [(str(mail_id),) for mail_id in mail.current().due(limit)]


def _mail(key: Key, _: Stopped) -> None:
    mail.current().send(UUID(key[0]))


def _rest(_key: Key, stopped: Stopped) -> None:
    while not stopped() and sync.current().accounts.put_off_ended():
        pass


def _clear(_key: Key, stopped: Stopped) -> None:
    while not stopped() and sync.current().changes.clear():
        pass
