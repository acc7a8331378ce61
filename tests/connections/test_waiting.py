"""Those who wait for the same refresh: one of them watches, and whoever knows more wakes all."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event
from uuid import uuid4

import pytest
from flask import Flask

from app.connections.single_flight import SingleFlight
from tests.support.clocks import HeldClock
from tests.support.connected import Connected, refresh
from tests.support.sandbox import Sandbox

OFTEN, RARELY = 1.0, 300.0
LIMIT_SECONDS = 30  # after which a test has failed
ONE, ANOTHER = uuid4(), uuid4()

Start = Callable[..., "Future[object]"]


class NoTimePasses(HeldClock):
    """Who waits is woken or waits for ever; `began` tells of each wait for how long it would be.

    Once, a wait can be over by itself: right after something that happens during it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.began: SimpleQueue[float] = SimpleQueue()
        self.over_after: Callable[[], object] | None = None

    def wait(self, event: Event, seconds: float) -> None:
        assert not event.is_set(), "it waits for old news"
        self.began.put(seconds)
        if self.over_after:
            meanwhile, self.over_after = self.over_after, None
            meanwhile()
        else:
            assert event.wait(LIMIT_SECONDS), "nobody woke it"

    def next(self) -> float:
        """For how long the next one waits, once it does."""
        return self.began.get(timeout=LIMIT_SECONDS)


@pytest.fixture
def clock() -> NoTimePasses:
    return NoTimePasses()


@pytest.fixture
def waiting(clock: NoTimePasses) -> SingleFlight:
    return SingleFlight(clock)


@pytest.fixture
def start() -> Iterator[Start]:
    """Calls something in a thread of its own."""
    with ThreadPoolExecutor() as threads:
        yield threads.submit


def test_one_watches_and_news_wake_all(
    waiting: SingleFlight, clock: NoTimePasses, start: Start
) -> None:
    """However many wait, the database is asked by one; all of them learn what it learns."""
    begun = [start(waiting.wait, ONE, OFTEN, RARELY) for _ in range(5)]
    waits = sorted(clock.next() for _ in begun)

    waiting.notify(ONE)

    assert [one.exception(LIMIT_SECONDS) for one in begun] == [None] * 5
    assert waits == [OFTEN, RARELY, RARELY, RARELY, RARELY]


def test_who_has_watched_watches_on(
    waiting: SingleFlight, clock: NoTimePasses, start: Start
) -> None:
    """Having looked in vain, it is the one that looks soon again, while the others wait."""
    begun: list[Future[object]] = []

    def somebody_comes() -> None:
        begun.append(start(waiting.wait, ONE, OFTEN, RARELY))
        assert [clock.next(), clock.next()] == [OFTEN, RARELY]

    clock.over_after = somebody_comes
    waiting.wait(ONE, OFTEN, RARELY)
    begun.append(start(waiting.wait, ONE, OFTEN, RARELY))

    assert clock.next() == OFTEN
    waiting.notify(ONE)
    assert [one.exception(LIMIT_SECONDS) for one in begun] == [None, None]


def test_one_is_enough_to_watch(waiting: SingleFlight, clock: NoTimePasses, start: Start) -> None:
    """Where another has looked in between, nobody takes the watch from the one that has it."""
    watches = start(waiting.wait, ONE, OFTEN, RARELY)
    assert clock.next() == OFTEN
    clock.over_after = lambda: None
    waiting.wait(ONE, OFTEN, RARELY)
    assert clock.next() == RARELY

    waits = start(waiting.wait, ONE, OFTEN, RARELY)

    assert clock.next() == RARELY
    waiting.notify(ONE)
    assert [one.exception(LIMIT_SECONDS) for one in (watches, waits)] == [None, None]


def test_news_are_of_one_connection(
    waiting: SingleFlight, clock: NoTimePasses, start: Start
) -> None:
    """Nobody looks because of somebody else's connection, which has a watcher of its own."""
    one = start(waiting.wait, ONE, OFTEN, RARELY)
    assert clock.next() == OFTEN
    another = start(waiting.wait, ANOTHER, OFTEN, RARELY)
    assert clock.next() == OFTEN

    waiting.notify(ANOTHER)

    assert another.exception(LIMIT_SECONDS) is None
    assert not one.done()
    waiting.notify(ONE)
    assert one.exception(LIMIT_SECONDS) is None


def test_old_news_wake_nobody(waiting: SingleFlight, clock: NoTimePasses, start: Start) -> None:
    """Who comes after them has looked since, and waits for the next."""
    begun: list[Future[object]] = []

    def news_and_somebody_who_comes_after_them() -> None:
        waiting.notify(ONE)
        begun.append(start(waiting.wait, ONE, OFTEN, RARELY))
        assert [clock.next(), clock.next()] == [OFTEN, OFTEN]

    clock.over_after = news_and_somebody_who_comes_after_them
    waiting.wait(ONE, OFTEN, RARELY)

    waiting.notify(ONE)
    assert [one.exception(LIMIT_SECONDS) for one in begun] == [None]


@pytest.mark.both_databases
def test_who_gets_a_token_wakes_those_who_wait_for_it(
    app: Flask, sandbox: Sandbox, environ: dict[str, str], clock: NoTimePasses, start: Start
) -> None:
    """R-1: a refresh that is under way elsewhere ends, one here sees it, and all here have it."""
    connected = Connected(app, sandbox, environ, "ada", clock)
    here, elsewhere = refresh(connected.parts()), connected.parts()
    clock.move(61)
    seen = elsewhere.leases.read(connected.id)
    assert seen
    lease = elsewhere.leases.claim(seen)
    assert lease
    waits = start(here.fresh_access_token, connected.id)
    clock.next()

    elsewhere.leases.release_unused(lease)
    token = here.fresh_access_token(connected.id)

    assert waits.result(LIMIT_SECONDS) == token
    assert connected.refreshes() == 1
