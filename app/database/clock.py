"""The ways this app reads time, in one place, so that a test can hold the clock.

Whether a token or a lease is still good is always judged by the *database's* clock: the one clock
that all processes and hosts share. A worker whose own clock is wrong then does no harm.
"""

import time
from datetime import datetime
from threading import Event
from typing import Any, Protocol

from sqlalchemy import BindParameter, ColumnElement, Float, literal, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
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


#: A number, or the parameter of a statement that is built once.
Seconds = float | BindParameter[float]


class Clock(Protocol):
    """What the code asks of time."""

    def database_time(self, plus: Seconds = 0) -> ColumnElement[Any]:
        """The database's own time, `plus` seconds from now, as an SQL expression."""

    def monotonic(self) -> float:
        """Seconds on a monotonic clock that keeps counting while the host is suspended."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def wait(self, event: Event, seconds: float) -> None:
        """Wait for an event, but not longer."""


class SystemClock:
    """Real time."""

    def database_time(self, plus: Seconds = 0) -> ColumnElement[Any]:
        if isinstance(plus, BindParameter):
            return DatabaseTime(plus)

        return DatabaseTime(literal(float(plus), Float))

    def monotonic(self) -> float:
        return monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait(self, event: Event, seconds: float) -> None:
        event.wait(seconds)


#: How far ahead a time can lie that is past: a small correction of the clock is no mistake.
PAST_AHEAD_SECONDS = 60


def seconds_until(moment: datetime | None, at: datetime, longest: float) -> float:
    """Seconds from `at` until `moment`; 0 if it is over, or further ahead than `longest`.

    A time further ahead was written while the database's clock was wrong (a restored virtual
    machine, a wrong time zone). Correcting the clock must not block anything until then.
    """
    left = (moment - at).total_seconds() if moment else 0.0
    return left if 0 < left <= longest else 0.0


def is_over(
    column: InstrumentedAttribute[Any], clock: Clock, longest: float
) -> ColumnElement[bool]:
    """The same in SQL: nothing is set, it is past, or it lies further ahead than `longest`."""
    return or_(
        column.is_(None),
        column <= clock.database_time(),
        column > clock.database_time(longest),
    )


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
