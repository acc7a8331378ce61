"""SIGINT and SIGTERM as a request to stop: a command finishes the work in progress first."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue

import click

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether a stop was requested."""

    def __init__(self) -> None:
        self._asked = False
        # SimpleQueue is reentrant: a signal handler may use it while it interrupts `wait`.
        self._bell: SimpleQueue[None] = SimpleQueue()

    def asked(self) -> bool:
        """Whether to start no more work."""
        return self._asked

    def ask(self, *_: object) -> None:
        """Request a stop."""
        if not self._asked:
            click.echo("Stopping: what is under way is finished first.", err=True)
        self._asked = True
        self._bell.put(None)

    def wake(self) -> None:
        """End a wait, from any thread."""
        self._bell.put(None)

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, or earlier on `wake` or on a request to stop."""
        with suppress(Empty):
            self._bell.get(timeout=seconds)


@contextmanager
def stop_at_signals() -> Iterator[Stop]:
    """A Stop that is requested by SIGINT and SIGTERM. The old handlers are restored at the end."""
    stop = Stop()
    before = [signal.signal(number, stop.ask) for number in SIGNALS]
    try:
        yield stop
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)
