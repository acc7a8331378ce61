"""Shows the progress of a long command: a bar on a terminal, else a line for each batch."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

LINE_EVERY = 200


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of items that were done since the last call."""
    if sys.stdout.isatty():
        with _warnings_only(), click.progressbar(length=total, label=label, show_pos=True) as bar:
            yield bar.update
        return

    lines = _Lines(label, total)
    yield lines.update
    lines.end()


@contextmanager
def _warnings_only() -> Iterator[None]:
    """Hide log lines below a warning: they would break the bar."""
    logger = logging.getLogger("app")
    level = logger.level
    logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(level)


class _Lines:
    """For a log: a line for each full batch, and one for the rest."""

    def __init__(self, label: str, total: int) -> None:
        self.label = label
        self.total = total
        self.done = self.said = 0

    def update(self, more: int) -> None:
        self.done += more
        if self.done >= self.said + LINE_EVERY:
            self.say()

    def end(self) -> None:
        if self.done > self.said:
            self.say()

    def say(self) -> None:
        self.said = self.done
        click.echo(f"{self.label}: {self.done} of {self.total}")
