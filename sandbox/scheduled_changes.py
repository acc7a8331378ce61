"""Changes that wait for an app to list something, so that they come between two of its pages."""

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
    """What is to happen after so many list requests, in the order in which it was asked for."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[_Waiting] = []

    def after(
        self, lists: int, factory: str, resource: str | None, change: Callable[[], object]
    ) -> None:
        """Let a change happen once a factory's list (None: any) has answered so many requests.

        The answer of the last of these requests does not have the change yet.
        """
        with self._lock:
            self._waiting.append(_Waiting(factory, resource, lists, change))

    def listed(self, factory: str, resource: str) -> None:
        """Count one list request, and let happen what waited for it."""
        with self._lock:
            for each in self._waiting:
                if each.factory == factory and each.resource in (None, resource):
                    each.lists -= 1
            due = [each for each in self._waiting if each.lists <= 0]
            self._waiting = [each for each in self._waiting if each.lists > 0]
        for each in due:
            with suppress(LookupError):  # its record has gone meanwhile
                each.change()

    def __len__(self) -> int:
        return len(self._waiting)
