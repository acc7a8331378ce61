"""Single-flight: one thread of this process refreshes, the other threads wait for its result.

An optimisation only. The lease in the row decides which caller may send, so nothing breaks if a
thread misses a notification. It saves database queries: only one thread of a process tries to claim
the lease of a connection, and only one waiting thread polls its row.
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
    """Coordinates the threads of this process that need the same connection refreshed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._in_flight: set[UUID] = set()
        self._groups: dict[UUID, _WaitGroup] = {}
        self._lock = Lock()

    @contextmanager
    def enter(self, connection_id: UUID) -> Iterator[bool]:
        """Whether this thread may refresh. While it may, no other thread of this process may."""
        with self._lock:
            entered = connection_id not in self._in_flight
            self._in_flight.add(connection_id)
        try:
            yield entered
        finally:
            if entered:
                with self._lock:
                    self._in_flight.remove(connection_id)

    def wait(self, connection_id: UUID, poll_seconds: float, fallback_seconds: float) -> None:
        """Wait for a notification; the caller then reads the row again.

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
        """Wake every thread that waits for this connection."""
        if connection_id not in self._groups:
            return  # the common case, without a lock: this runs after every use of a token

        with self._lock:
            group = self._groups.pop(connection_id, None)
        if group:
            group.changed.set()
