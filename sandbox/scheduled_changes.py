"""Changes that wait for list requests, so that they happen between two pages."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock


@dataclass
class _Waiting:
    factory: str
    resource: str | None
    lists: int
    change: Callable[[], object]


class Schedule:
    """Changes to make after a number of list requests, in the order in which they were added."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[_Waiting] = []

    def after(
        self, lists: int, factory: str, resource: str | None, change: Callable[[], object]
    ) -> None:
        """Make a change after so many requests for a factory's list (None: for any list).

        The response to the last of these requests does not have the change yet.
        """
        with self._lock:
            self._waiting.append(_Waiting(factory, resource, lists, change))

    def listed(self, factory: str, resource: str) -> None:
        """Count one list request, and make the changes that waited for it."""
        with self._lock:
            for each in self._waiting:
                if each.factory == factory and each.resource in (None, resource):
                    each.lists -= 1
            due = [each for each in self._waiting if each.lists <= 0]
            self._waiting = [each for each in self._waiting if each.lists > 0]
        for each in due:
            with suppress(LookupError):  # its record was deleted in the meantime
                each.change()

    def __len__(self) -> int:
        return len(self._waiting)
