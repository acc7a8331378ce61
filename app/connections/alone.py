"""One thread of this process at a time, for each connection.

Nobody's rights hang on it: who may send is for the lease to say. It keeps the threads of a process
from queueing at the database for a lease that one of them is about to take: those whose token is
still good go on with it, the others wait for the new one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from uuid import UUID


class Alone:
    """Which connections somebody here is at."""

    def __init__(self) -> None:
        self._taken: set[UUID] = set()
        self._lock = Lock()

    @contextmanager
    def at(self, connection_id: UUID) -> Iterator[bool]:
        """Whether nobody else was at this connection; then nobody else is until the end."""
        with self._lock:
            alone = connection_id not in self._taken
            self._taken.add(connection_id)
        try:
            yield alone
        finally:
            if alone:
                with self._lock:
                    self._taken.remove(connection_id)
