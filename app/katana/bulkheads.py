"""Bulkheads and circuit breakers: a slow Katana blocks only some threads of a server process.

A thread that waits for Katana serves no other request. So only some threads of a process may wait
for it at the same time. There are four bulkheads: for the API, for refreshes, for waiting for
another caller's refresh, and for callbacks. Each has its own number of slots. One thread is always
left for requests that do not need Katana.

While Katana responds promptly, a caller that finds no free slot waits in a queue, so that a burst
of requests succeeds; if no other thread is free, it waits only briefly. If a holder of a slot is
slow, or a caller's time in the queue has run out, further callers are refused at once. After
several time-outs in a row the circuit breaker refuses all callers for some seconds, then lets one
caller through as a probe.

All counts are of one process. `applies` tells whether the current thread is limited.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from threading import Condition, Lock

from app.database.clock import monotonic
from app.errors import CallbackPostponed, KatanaSaturated

QUEUE_SECONDS = 4.0  # longest wait in the queue; a slot that is held longer counts as slow
LAST_THREAD_SECONDS = 0.75  # longest wait if no other thread is free ...
LAST_THREAD_HELD_SECONDS = 0.5  # ... and how long a slot may be held then
NO_QUEUE_SECONDS = 2.0  # after a wait in the queue has timed out, no caller may queue for this long
TIME_OUT_SECONDS = 3.0  # a failure that took longer counts as a time-out
TIME_OUTS = 3  # in a row, to open the circuit breaker
OPEN_SECONDS = 5.0
RETRY_SECONDS = 5.0  # `retry_after` if no slot is free

Monotonic = Callable[[], float]


@dataclass
class Slot:
    """One use of a slot. Set `failed` for a failure that is not raised."""

    failed: bool = False


class CircuitBreaker:
    """Refuses callers after several time-outs in a row, except one probe at a time."""

    def __init__(self, clock: Monotonic) -> None:
        self._monotonic = clock
        self._lock = Lock()
        self._time_outs = 0
        self._open_until: float | None = None
        self._probing = False

    @contextmanager
    def guard(self, refusal: type[KatanaSaturated]) -> Iterator[Slot]:
        """Let a caller through and record the result. Raises `refusal` while open."""
        probes = self._admit(refusal)
        began, slot = self._monotonic(), Slot()
        ended = False
        try:
            yield slot
            ended = True
        except KatanaSaturated:
            raise  # no slot was free, so nothing was sent
        except Exception:
            slot.failed = ended = True
            raise
        finally:
            with self._lock:
                self._probing = self._probing and not probes
                if ended:
                    slow = self._monotonic() - began >= TIME_OUT_SECONDS
                    self._note(timed_out=slot.failed and slow)

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


class _Capacity:
    """The limit over all bulkheads of a process. `changed` is its lock and wakes the queue."""

    def __init__(self, threads: int, applies: Callable[[], bool], clock: Monotonic) -> None:
        self.changed = Condition()
        self.limit = max(1, threads - 1)
        self.held: list[float] = []  # the start time of each slot in use
        self.queued = 0
        self.applies = applies
        self.monotonic = clock


class Bulkhead:
    """A limit on the threads that wait for one kind of request."""

    def __init__(
        self,
        capacity: _Capacity,
        slots: int,
        breaker: CircuitBreaker,
        refusal: type[KatanaSaturated] = KatanaSaturated,
    ) -> None:
        self.slots = slots
        self._capacity = capacity
        self._breaker = breaker
        self._refusal = refusal
        self._held: list[float] = []  # the start time of each slot in use
        self._no_queue_until = -inf

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        """Hold a slot during a request to Katana. Raises KatanaSaturated if none is free."""
        if not self._capacity.applies():
            yield Slot()
            return

        with self._breaker.guard(self._refusal) as slot, self._release_afterwards(self._acquire()):
            yield slot

    @contextmanager
    def waiting(self, waited: float) -> Iterator[float]:
        """Wait for another caller's request; yields how many seconds the wait may take.

        `waited`: seconds that count as already waited. Raises KatanaSaturated.
        """
        if not self._capacity.applies():
            yield inf
            return

        since = self._capacity.monotonic() - waited
        with self._capacity.changed:
            acquired = self._try_acquire(since)
        if acquired:
            with self._release_afterwards(since):
                yield inf
            return

        with self._queue():
            left = self._queue_seconds_left(since)
            if left <= 0:
                raise self._refusal(RETRY_SECONDS)

            yield left

    def _acquire(self) -> float:
        """Take a slot, after a wait in the queue if needed; return its start time."""
        began = self._capacity.monotonic()
        with self._capacity.changed:
            if self._try_acquire(began):
                return began

            with self._queue():
                while (left := self._queue_seconds_left(began)) > 0:
                    self._capacity.changed.wait(left)
                    if self._try_acquire(since := self._capacity.monotonic()):
                        return since

            if self._capacity.monotonic() - began >= QUEUE_SECONDS:
                self._no_queue_until = self._capacity.monotonic() + NO_QUEUE_SECONDS
            raise self._refusal(RETRY_SECONDS)

    @contextmanager
    def _queue(self) -> Iterator[None]:
        with self._capacity.changed:
            self._capacity.queued += 1
            self._capacity.changed.notify_all()
        try:
            yield
        finally:
            with self._capacity.changed:
                self._capacity.queued -= 1

    def _try_acquire(self, since: float) -> bool:
        if len(self._held) >= self.slots or len(self._capacity.held) >= self._capacity.limit:
            return False

        self._held.append(since)
        self._capacity.held.append(since)
        self._capacity.changed.notify_all()  # it may shorten the waits in the queue
        return True

    @contextmanager
    def _release_afterwards(self, since: float) -> Iterator[None]:
        try:
            yield
        finally:
            with self._capacity.changed:
                self._held.remove(since)
                self._capacity.held.remove(since)
                self._capacity.changed.notify_all()

    def _queue_seconds_left(self, began: float) -> float:
        """How much longer this caller may wait in the queue."""
        now = self._capacity.monotonic()
        if now < self._no_queue_until:
            return 0

        held = self._held if len(self._held) >= self.slots else self._capacity.held
        last_thread = len(self._capacity.held) + self._capacity.queued > self._capacity.limit
        longest_wait, longest_hold = QUEUE_SECONDS, QUEUE_SECONDS
        if last_thread:
            longest_wait, longest_hold = LAST_THREAD_SECONDS, LAST_THREAD_HELD_SECONDS
        return min(began + longest_wait, min(held, default=inf) + longest_hold) - now


class Bulkheads:
    """The bulkheads of a process, in proportion to the threads of its server."""

    def __init__(
        self,
        threads: int = 8,
        applies: Callable[[], bool] = lambda: True,
        clock: Monotonic = monotonic,
    ) -> None:
        capacity = _Capacity(threads, applies, clock)
        api, login = CircuitBreaker(clock), CircuitBreaker(clock)
        quarter = max(1, threads // 4)
        self.api = Bulkhead(capacity, max(1, threads * 3 // 8), api)
        self.refreshes = Bulkhead(capacity, quarter, login)
        self.others_refreshes = Bulkhead(capacity, quarter, login)
        self.callbacks = Bulkhead(capacity, max(1, threads // 8), login, CallbackPostponed)


#: For commands and background work, which do not run in the server's threads.
UNLIMITED = Bulkheads(applies=lambda: False)
