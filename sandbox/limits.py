"""Katana's rate limit: a number of requests in each window of 60 seconds, for each family."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from threading import Lock

_WINDOW = timedelta(seconds=60)


@dataclass(frozen=True)
class Allowance:
    """What is left in a window; `reset_ms` is milliseconds since the epoch, `wait` is seconds."""

    limit: int
    remaining: int
    reset_ms: int
    wait: int
    exceeded: bool


class Limits:
    """The number of requests of each family in its current window."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = Lock()
        self._windows: dict[int, tuple[datetime, int]] = {}

    def count(self, family: int, limit: int) -> Allowance:
        """Count one request and return what is left; a refused request is not counted."""
        with self._lock:
            ends, used = self._windows.get(family, (self._now(), 0))
            if self._now() >= ends:
                ends, used = self._now() + _WINDOW, 0
            exceeded = used >= limit
            self._windows[family] = ends, used + (not exceeded)
        return self._allowance(limit, used + 1, ends, exceeded=exceeded)

    def untouched(self, limit: int) -> Allowance:
        """Return the allowance for a request without a valid token."""
        return self._allowance(limit, 0, self._now() + _WINDOW, exceeded=False)

    def _allowance(self, limit: int, used: int, ends: datetime, *, exceeded: bool) -> Allowance:
        wait = max(1, ceil((ends - self._now()).total_seconds()))
        left = max(0, limit - used)
        return Allowance(limit, left, int(ends.timestamp() * 1000), wait, exceeded)
