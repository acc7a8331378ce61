"""Bulkheads and circuit breakers: a slow Katana holds only a part of a worker's threads.

A thread that waits for Katana answers nobody else. So only some threads of a process may wait for
it at any moment: for its API, to refresh, for another caller's refresh, and for callbacks, each
with places of its own. One thread is always left for what needs no Katana.

While Katana responds promptly, a caller that finds no place waits in line, so that a burst loses no
page; where that would take the last free thread, for a moment only. As soon as a holder is slow, or
the line was not served in time, further callers are refused at once. After several time-outs in a
row the circuit breaker refuses everyone for some seconds, then lets one caller through to probe.

All counts are of one process. Knows nothing of pages: `applies` says who is limited.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from threading import Condition, Lock

from app.database.clock import monotonic
from app.errors import CallbackPostponed, KatanaSaturated

LINE_SECONDS = 4.0  # in line at most, and how long a place may be held before it counts as slow
LAST_THREAD_SECONDS = 0.75  # in line at most where no other thread is free ...
LAST_THREAD_HELD_SECONDS = 0.5  # ... and how long a place may be held then
CLOSED_SECONDS = 2.0  # no line after one that was not served in time
TIME_OUT_SECONDS = (
    3.0  # a failure after this long counts as a time-out; a quick one holds nobody up
)
TIME_OUTS = 3  # in a row, until the circuit breaker opens
OPEN_SECONDS = 5.0
RETRY_SECONDS = 5.0  # where no place is free

Monotonic = Callable[[], float]


@dataclass
class Visit:
    """One use of a place; `failed` may be set where the failure is not raised."""

    failed: bool = False


class CircuitBreaker:
    """Refuses callers after several time-outs in a row, but for one at a time that probes."""

    def __init__(self, clock: Monotonic) -> None:
        self._monotonic = clock
        self._lock = Lock()
        self._time_outs = 0
        self._open_until: float | None = None
        self._probing = False

    @contextmanager
    def watching(self, refusal: type[KatanaSaturated]) -> Iterator[Visit]:
        """Let a caller through and note how it ends. Raises `refusal` while open."""
        probes = self._admit(refusal)
        began, visit = self._monotonic(), Visit()
        ended = False
        try:
            yield visit
            ended = True
        except KatanaSaturated:
            raise  # no place was free: Katana was sent nothing
        except Exception:
            visit.failed = ended = True
            raise
        finally:
            with self._lock:
                self._probing = self._probing and not probes
                if ended:
                    slow = self._monotonic() - began >= TIME_OUT_SECONDS
                    self._note(timed_out=visit.failed and slow)

    def _admit(self, refusal: type[KatanaSaturated]) -> bool:
        """Whether this caller is the probe."""
        with self._lock:
            if self._open_until is None:
                return False

            left = self._open_until - self._monotonic()
            if left > 0 or self._probing:
                raise refusal(left if left > 0 else RETRY_SECONDS)

            self._probing = True
            return True

    def _note(self, *, timed_out: bool) -> None:
        self._time_outs = self._time_outs + 1 if timed_out else 0
        if self._time_outs >= TIME_OUTS:
            self._open_until = self._monotonic() + OPEN_SECONDS
        elif not timed_out:
            self._open_until = None


class _Room:
    """All places of a process: `changed` guards them, and tells those in line."""

    def __init__(self, threads: int, applies: Callable[[], bool], clock: Monotonic) -> None:
        self.changed = Condition()
        self.most = max(1, threads - 1)
        self.held: list[float] = []  # since when, by its clock
        self.in_line = 0
        self.applies = applies
        self.monotonic = clock


class Bulkhead:
    """The places for one kind of waiting."""

    def __init__(
        self,
        room: _Room,
        places: int,
        breaker: CircuitBreaker,
        refusal: type[KatanaSaturated] = KatanaSaturated,
    ) -> None:
        self.places = places
        self._room = room
        self._breaker = breaker
        self._refusal = refusal
        self._held: list[float] = []  # since when, by the clock of the room
        self._closed_until = -inf

    @contextmanager
    def place(self) -> Iterator[Visit]:
        """Hold a place while waiting for Katana. Raises KatanaSaturated where none is to be had."""
        if not self._room.applies():
            yield Visit()
            return

        with self._breaker.watching(self._refusal) as visit, self._held_since(self._placed()):
            yield visit

    @contextmanager
    def waiting(self, waited: float) -> Iterator[float]:
        """Wait for what another caller does at Katana, for the seconds that this gives at most.

        `waited` is how long the caller has waited already, in seconds. Raises KatanaSaturated.
        """
        if not self._room.applies():
            yield inf
            return

        since = self._room.monotonic() - waited
        with self._room.changed:
            is_placed = self._take(since)
        if is_placed:
            with self._held_since(since):
                yield inf
            return

        with self._in_line():
            left = self._line_seconds(since)
            if left <= 0:
                raise self._refusal(RETRY_SECONDS)

            yield left

    def _placed(self) -> float:
        """Wait in line where that makes sense; since when the place is held."""
        began = self._room.monotonic()
        with self._room.changed:
            if self._take(began):
                return began

            with self._in_line():
                while (left := self._line_seconds(began)) > 0:
                    self._room.changed.wait(left)
                    if self._take(since := self._room.monotonic()):
                        return since

            if self._room.monotonic() - began >= LINE_SECONDS:
                self._closed_until = self._room.monotonic() + CLOSED_SECONDS
            raise self._refusal(RETRY_SECONDS)

    @contextmanager
    def _in_line(self) -> Iterator[None]:
        with self._room.changed:
            self._room.in_line += 1
            self._room.changed.notify_all()
        try:
            yield
        finally:
            with self._room.changed:
                self._room.in_line -= 1

    def _take(self, since: float) -> bool:
        if len(self._held) >= self.places or len(self._room.held) >= self._room.most:
            return False

        self._held.append(since)
        self._room.held.append(since)
        self._room.changed.notify_all()  # it may have been the last free thread
        return True

    @contextmanager
    def _held_since(self, since: float) -> Iterator[None]:
        try:
            yield
        finally:
            with self._room.changed:
                self._held.remove(since)
                self._room.held.remove(since)
                self._room.changed.notify_all()

    def _line_seconds(self, began: float) -> float:
        """How much longer it makes sense to wait in line."""
        now = self._room.monotonic()
        if now < self._closed_until:
            return 0

        ahead = self._held if len(self._held) >= self.places else self._room.held
        last = len(self._room.held) + self._room.in_line > self._room.most
        waits, holds = LINE_SECONDS, LINE_SECONDS
        if last:
            waits, holds = LAST_THREAD_SECONDS, LAST_THREAD_HELD_SECONDS
        return min(began + waits, min(ahead, default=inf) + holds) - now


class Bulkheads:
    """All that a process needs, in proportion to the threads of its server."""

    def __init__(
        self,
        threads: int = 8,
        applies: Callable[[], bool] = lambda: True,
        clock: Monotonic = monotonic,
    ) -> None:
        room = _Room(threads, applies, clock)
        api, login = CircuitBreaker(clock), CircuitBreaker(clock)
        quarter = max(1, threads // 4)
        self.api = Bulkhead(room, max(1, threads * 3 // 8), api)
        self.refreshes = Bulkhead(room, quarter, login)
        self.others_refreshes = Bulkhead(room, quarter, login)
        self.callbacks = Bulkhead(room, max(1, threads // 8), login, CallbackPostponed)


#: For commands and background work, which hold up no visitor.
UNLIMITED = Bulkheads(applies=lambda: False)
