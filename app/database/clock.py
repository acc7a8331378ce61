"""The ways this app reads time, in one place, so that a test can hold the clock.

Whether a token or a lease is still good is always judged by the *database's* clock: the one clock
that all processes and hosts share. A worker whose own clock is wrong then does no harm.
"""

import time
from threading import Event
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Float, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from app.database.columns import Timestamp

# CLOCK_BOOTTIME keeps counting while the host is suspended; time.monotonic() stands still there on
# Linux (clock_gettime(2)), and a host that wakes up would not notice that its lease is over. On
# macOS CLOCK_MONOTONIC keeps counting. A hypervisor that pauses a whole machine stops every clock
# in it, which no clock can show.
_COUNTS_WHILE_SUSPENDED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def monotonic() -> float:
    """Seconds on a monotonic clock that keeps counting while the host is suspended."""
    return time.clock_gettime(_COUNTS_WHILE_SUSPENDED)


class Clock(Protocol):
    """What the code asks of time."""

    def database_time(self, plus: float = 0) -> ColumnElement[Any]:
        """The database's own time, `plus` seconds from now, as an SQL expression."""

    def monotonic(self) -> float:
        """Seconds on a monotonic clock that keeps counting while the host is suspended."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def wait(self, event: Event, seconds: float) -> None:
        """Wait for an event, but not longer."""


class SystemClock:
    """Real time."""

    def database_time(self, plus: float = 0) -> ColumnElement[Any]:
        return DatabaseTime(literal(float(plus), Float))

    def monotonic(self) -> float:
        return monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait(self, event: Event, seconds: float) -> None:
        event.wait(seconds)


class DatabaseTime(GenericFunction[Any]):
    """The moment at which the database evaluates it, plus seconds."""

    type = Timestamp()
    inherit_cache = True
    name = "database_time"


@compiles(DatabaseTime, "postgresql")
def _postgresql(element: Any, compiler: Any, **kwargs: Any) -> str:
    # clock_timestamp, not now(): an UPDATE that waited for a row lock must judge by the time after
    # the wait.
    seconds = compiler.process(element.clauses, **kwargs)
    return f"(clock_timestamp() + make_interval(secs => CAST({seconds} AS double precision)))"


@compiles(DatabaseTime, "sqlite")
def _sqlite(element: Any, compiler: Any, **kwargs: Any) -> str:
    # Six decimals, as SQLAlchemy stores them: SQLite compares times as text.
    seconds = compiler.process(element.clauses, **kwargs)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', {seconds} || ' seconds') || '000')"
