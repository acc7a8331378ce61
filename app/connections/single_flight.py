"""Single-flight: one thread of this process asks, the other threads wait for its result.

An optimisation only. The lease in the row decides who may send; two processes, or a thread that
misses a notification, stay correct. It keeps the threads of a process from queueing at the database
for a lease that one of them is about to take, and lets one waiting thread poll the row for all.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock
from uuid import UUID

from app.database.clock import Clock


@dataclass
class _WaitGroup:
    """The threads that wait for one connection."""

    changed: Event = field(default_factory=Event)
    waiting: int = 0
    has_poller: bool = False


class SingleFlight:
    """The threads of this process that refresh a connection, or wait for its refresh."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._taken: set[UUID] = set()
        self._groups: dict[UUID, _WaitGroup] = {}
        self._lock = Lock()

    @contextmanager
    def enter(self, connection_id: UUID) -> Iterator[bool]:
        """Whether this thread may refresh; no other thread of this process may before it leaves."""
        with self._lock:
            entered = connection_id not in self._taken
            self._taken.add(connection_id)
        try:
            yield entered
        finally:
            if entered:
                with self._lock:
                    self._taken.remove(connection_id)

    def wait(self, connection_id: UUID, poll_seconds: float, fallback_seconds: float) -> None:
        """Wait for a notification, then return so that the caller reads the row again.

        Returns after `poll_seconds` at the latest if no other thread polls for this connection,
        otherwise after `fallback_seconds`.
        """
        with self._lock:
            group = self._groups.setdefault(connection_id, _WaitGroup())
            polls, group.has_poller = not group.has_poller, True
            group.waiting += 1
        try:
            self._clock.wait(group.changed, poll_seconds if polls else fallback_seconds)
        finally:
            with self._lock:
                group.waiting -= 1
                group.has_poller = group.has_poller and not polls
                if not group.waiting and self._groups.get(connection_id) is group:
                    del self._groups[connection_id]

    def notify(self, connection_id: UUID) -> None:
        """Let every thread that waits for this connection read the row now."""
        if connection_id not in self._groups:
            return  # the common case: every use of a token comes by here

        with self._lock:
            group = self._groups.pop(connection_id, None)
        if group:
            group.changed.set()
