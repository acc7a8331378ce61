"""How many threads may wait for Katana, and when a circuit breaker lets none wait."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from math import inf

import pytest
from flask import Flask

from app.connections import current
from app.errors import ApiUnavailable, KatanaSaturated
from app.katana.bulkheads import (
    OPEN_SECONDS,
    QUEUE_SECONDS,
    TIME_OUT_SECONDS,
    TIME_OUTS,
    Bulkheads,
)
from tests.support.until import until

WORKERS, THREADS = 2, 8


class SetClock:
    """Seconds, as a test sets them."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def time_out(places: Bulkheads, clock: SetClock) -> None:
    """Wait for Katana's API until that takes too long."""
    with suppress(ApiUnavailable), places.api.slot():
        clock.seconds += TIME_OUT_SECONDS
        raise ApiUnavailable


def is_let_through(places: Bulkheads) -> bool:
    """Whether a caller may ask Katana's API, which responds."""
    try:
        with places.api.slot():
            return True
    except KatanaSaturated:
        return False


def test_after_time_outs_in_a_row_one_caller_at_a_time_probes() -> None:
    """The circuit breaker, half open: others are refused until the probe has succeeded."""
    clock = SetClock()
    places = Bulkheads(THREADS, clock=clock)
    for _ in range(TIME_OUTS - 1):
        time_out(places, clock)
    assert is_let_through(places)  # which begins the row anew
    for _ in range(TIME_OUTS):
        time_out(places, clock)

    assert not is_let_through(places)
    clock.seconds += OPEN_SECONDS
    with places.api.slot():
        assert not is_let_through(places)
    assert is_let_through(places)
    with places.api.slot(), places.api.slot():
        pass


def test_a_probe_that_times_out_keeps_the_circuit_breaker_open() -> None:
    """The same where a probe ends in neither way: it makes room for the next one."""
    clock = SetClock()
    places = Bulkheads(THREADS, clock=clock)
    for _ in range(TIME_OUTS):
        time_out(places, clock)
    clock.seconds += OPEN_SECONDS
    time_out(places, clock)

    with pytest.raises(KatanaSaturated) as refused, places.api.slot():
        pass
    assert refused.value.retry_after == OPEN_SECONDS
    clock.seconds += OPEN_SECONDS
    with pytest.raises(KatanaSaturated), places.api.slot():
        raise KatanaSaturated(1)
    assert is_let_through(places)


def test_quick_failures_open_no_circuit_breaker() -> None:
    """A refused connection holds up nobody, and shows at once when Katana is back."""
    clock = SetClock()
    places = Bulkheads(THREADS, clock=clock)
    for _ in range(2 * TIME_OUTS):
        with suppress(ApiUnavailable), places.api.slot():
            raise ApiUnavailable

    assert is_let_through(places)


def test_the_token_endpoint_and_the_api_time_out_apart() -> None:
    """A refresh notes its failure without raising it; pages with a good token go on."""
    clock = SetClock()
    places = Bulkheads(THREADS, clock=clock)
    for _ in range(TIME_OUTS):
        with places.refreshes.slot() as visit:
            clock.seconds += TIME_OUT_SECONDS
            visit.failed = True

    assert is_let_through(places)
    for login in (places.refreshes, places.callbacks):
        with pytest.raises(KatanaSaturated), login.slot():
            pass


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 5, 8, 16, 40, 200])
def test_a_thread_is_left_however_many_there_are(threads: int) -> None:
    """All kinds together leave one free; with one thread there is nothing to share out."""
    clock = SetClock()
    places = Bulkheads(threads, clock=clock)
    kinds = (places.api, places.refreshes, places.others_refreshes, places.callbacks)
    held = 0
    with ExitStack() as stack:
        for kind in kinds * threads:
            clock.seconds += QUEUE_SECONDS  # those ahead are slow: nobody waits in line
            with suppress(KatanaSaturated):
                stack.enter_context(kind.slot())
                held += 1
        assert held <= max(1, threads - 1)
    assert all(1 <= kind.slots <= max(1, threads // 2) for kind in kinds)


def test_a_burst_waits_in_line_while_katana_is_prompt() -> None:
    """More callers than places, each done at once: nobody is refused, and those in line get in."""
    places = Bulkheads(THREADS)
    with ThreadPoolExecutor(THREADS) as pool:
        with ExitStack() as held:
            for _ in range(places.api.slots):
                held.enter_context(places.api.slot())
            in_line = pool.submit(is_let_through, places)
            until(lambda: in_line.done() or places.api._capacity.queued == 1)
        assert in_line.result()
        assert all(pool.map(lambda _: is_let_through(places), range(10 * THREADS)))


def test_waiting_for_the_refresh_of_another_has_places_too() -> None:
    """The first may wait on; the others for a moment, as long as those are not slow."""
    clock = SetClock()
    waiting = Bulkheads(THREADS, clock=clock).others_refreshes
    with ExitStack() as stack:
        for _ in range(waiting.slots):
            assert stack.enter_context(waiting.waiting(0)) == inf
        assert 0 < stack.enter_context(waiting.waiting(0)) <= QUEUE_SECONDS
        with pytest.raises(KatanaSaturated), waiting.waiting(QUEUE_SECONDS):
            pass
        clock.seconds += QUEUE_SECONDS
        with pytest.raises(KatanaSaturated), waiting.waiting(0):
            pass


def test_commands_are_not_limited(app: Flask) -> None:
    """`flask connections keep-alive` renews with as many threads as it likes."""
    with app.app_context(), ExitStack() as stack:
        places = current().bulkheads
        for kind in (places.api, places.refreshes, places.callbacks):
            for _ in range(10 * THREADS):
                stack.enter_context(kind.slot())
        assert stack.enter_context(places.others_refreshes.waiting(60)) == inf
