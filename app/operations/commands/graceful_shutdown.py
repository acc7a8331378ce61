"""SIGINT and SIGTERM as a wish that a command grants when it is done with what is under way."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue

import click

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether somebody has asked to stop."""

    def __init__(self) -> None:
        self._asked = False
        # Of what waits, only this queue may be used by a signal that interrupts the wait itself.
        self._bell: SimpleQueue[None] = SimpleQueue()

    def asked(self) -> bool:
        """Whether to begin nothing more."""
        return self._asked

    def ask(self, *_: object) -> None:
        """Ask to stop."""
        if not self._asked:
            click.echo("Stopping: what is under way is finished first.", err=True)
        self._asked = True
        self._bell.put(None)

    def wake(self) -> None:
        """End a wait, from any thread."""
        self._bell.put(None)

    def wait(self, seconds: float) -> None:
        """Return after so long, when woken, or as soon as somebody asks."""
        with suppress(Empty):
            self._bell.get(timeout=seconds)


@contextmanager
def stop_at_signals() -> Iterator[Stop]:
    """A Stop that SIGINT and SIGTERM ask, in place of what they did before."""
    stop = Stop()
    before = [signal.signal(number, stop.ask) for number in SIGNALS]
    try:
        yield stop
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)
