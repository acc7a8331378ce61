"""The threads of this process that wait for the same refresh: one looks often, for all of them.

Nobody's rights hang on it, and nothing is handed over but the news that there may be some: whoever
is woken looks for itself. Whoever is not woken looks all the same, only later.
"""

from dataclasses import dataclass, field
from threading import Event, Lock
from uuid import UUID

from app.database.clock import Clock


@dataclass
class _Room:
    """Where they wait for one connection."""

    news: Event = field(default_factory=Event)
    waiting: int = 0
    watched: bool = False  # one of them looks often


class Waiting:
    """Who waits for which connection."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rooms: dict[UUID, _Room] = {}
        self._lock = Lock()

    def wait(self, connection_id: UUID, often: float, rarely: float) -> None:
        """Until there is news, for `often` seconds at most if nobody watches yet, else `rarely`."""
        with self._lock:
            room = self._rooms.setdefault(connection_id, _Room())
            watches, room.watched = not room.watched, True
            room.waiting += 1
        try:
            self._clock.wait(room.news, often if watches else rarely)
        finally:
            with self._lock:
                room.waiting -= 1
                room.watched = room.watched and not watches
                if not room.waiting and self._rooms.get(connection_id) is room:
                    del self._rooms[connection_id]

    def wake(self, connection_id: UUID) -> None:
        """Let all look now who wait for this connection."""
        if connection_id not in self._rooms:
            return  # mostly nobody waits, and every use of a token comes by here

        with self._lock:
            room = self._rooms.pop(connection_id, None)
        if room:
            room.news.set()
