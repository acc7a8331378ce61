"""The clocks of this app, in one place, so that tests can control the time.

Whether a token or a lease has expired is decided by the *database's* clock, which all processes and
hosts share. So a host with a wrong clock does no harm.
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

# CLOCK_BOOTTIME keeps counting while the host is suspended. On Linux time.monotonic() does not
# (clock_gettime(2)), so a host that resumes would not notice that its lease has expired. On macOS
# CLOCK_MONOTONIC keeps counting. If a hypervisor pauses the whole machine, every clock in it stops.
_COUNTS_WHILE_SUSPENDED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def monotonic() -> float:
    """Seconds on a monotonic clock that keeps counting while the host is suspended."""
    return time.clock_gettime(_COUNTS_WHILE_SUSPENDED)


#: A number, or a bind parameter in a statement that is built once.
Seconds = float | BindParameter[float]


class Clock(Protocol):
    """The time functions that the code uses."""

    def database_time(self, plus: Seconds = 0) -> ColumnElement[Any]:
        """The database's time, `plus` seconds from now, as an SQL expression."""

    def monotonic(self) -> float:
        """Seconds on a monotonic clock that keeps counting while the host is suspended."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def wait(self, event: Event, seconds: float) -> None:
        """Wait for an event, at most `seconds`."""


class SystemClock:
    """The real clocks."""

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


#: The stored time of a past event may be this far in the future, if the clock was set back.
PAST_AHEAD_SECONDS = 60


def seconds_until(moment: datetime | None, at: datetime, longest: float) -> float:
    """Seconds from `at` until `moment`; 0 if it is past, or more than `longest` in the future.

    A later time was written while the database's clock was wrong (a restored virtual machine, a
    wrong time zone). It is ignored, so that it does not block a connection until then.
    """
    left = (moment - at).total_seconds() if moment else 0.0
    return left if 0 < left <= longest else 0.0


def is_over(
    column: InstrumentedAttribute[Any], clock: Clock, longest: float
) -> ColumnElement[bool]:
    """Whether a time is over, in SQL: null, past, or more than `longest` ahead (ignored)."""
    return or_(
        column.is_(None),
        column <= clock.database_time(),
        column > clock.database_time(longest),
    )


class DatabaseTime(GenericFunction[Any]):
    """The database's time when the statement is evaluated, plus a number of seconds."""

    type = Timestamp()
    inherit_cache = True
    name = "database_time"


@compiles(DatabaseTime, "postgresql")
def _postgresql(element: Any, compiler: Any, **kwargs: Any) -> str:
    # Not now(), which is the start of the transaction: an UPDATE that waited for a row lock must
    # use the time after the wait.
    seconds = compiler.process(element.clauses, **kwargs)
    return f"(clock_timestamp() + make_interval(secs => CAST({seconds} AS double precision)))"


@compiles(DatabaseTime, "sqlite")
def _sqlite(element: Any, compiler: Any, **kwargs: Any) -> str:
    # Six decimals, as SQLAlchemy stores times: SQLite compares them as text.
    seconds = compiler.process(element.clauses, **kwargs)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', {seconds} || ' seconds') || '000')"
