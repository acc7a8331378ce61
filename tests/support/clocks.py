"""Clocks that a test controls."""

from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from app.database.clock import Seconds, SystemClock, monotonic
from app.database.columns import Timestamp


class HeldClock:
    """Stands still until it is moved. Sleeping moves it; `slept` is the total."""

    def __init__(self) -> None:
        self.start_again()

    def start_again(self) -> None:
        """Set it to the current time."""
        self.moment = datetime.now(UTC).replace(microsecond=0)
        self.elapsed = monotonic()  # the transport uses the real clock
        self.slept: list[float] = []

    def database_time(self, plus: Seconds = 0) -> ColumnElement[Any]:
        if isinstance(plus, BindParameter):
            return _Later(self.database_time(), plus)

        # Evaluated when the statement runs: some statements are built once and run again later.
        return bindparam(
            None, type_=Timestamp, callable_=lambda: self.moment + timedelta(seconds=plus)
        )

    def monotonic(self) -> float:
        return self.elapsed

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.move(seconds)

    def wait(self, event: Event, seconds: float) -> None:
        if not event.is_set():
            self.sleep(seconds)

    def move(self, seconds: float) -> None:
        """Move the clock forward."""
        # Whole milliseconds, as SQLite computes. Otherwise a comparison would depend on rounding.
        self.moment += timedelta(milliseconds=round(seconds * 1000))
        self.elapsed += seconds


class LaterClock(SystemClock):
    """The real time, but the database's clock is so many seconds ahead."""

    def __init__(self, later: float) -> None:
        self.later = later

    def database_time(self, plus: Seconds = 0) -> ColumnElement[Any]:
        if isinstance(plus, BindParameter):
            return _Later(super().database_time(self.later), plus)

        return super().database_time(plus + self.later)

    def sleep(self, seconds: float) -> None:
        self.later += seconds


class _Later(GenericFunction[Any]):
    """A time plus seconds that are given when the statement runs."""

    type = Timestamp()
    inherit_cache = True
    name = "later"


@compiles(_Later, "postgresql")
def _postgresql(element: Any, compiler: Any, **kwargs: Any) -> str:
    moment, seconds = (compiler.process(clause, **kwargs) for clause in element.clauses)
    later = f"make_interval(secs => CAST({seconds} AS double precision))"
    return f"(CAST({moment} AS timestamptz) + {later})"


@compiles(_Later, "sqlite")
def _sqlite(element: Any, compiler: Any, **kwargs: Any) -> str:
    moment, seconds = (compiler.process(clause, **kwargs) for clause in element.clauses)
    return f"(strftime('%Y-%m-%d %H:%M:%f', {moment}, {seconds} || ' seconds') || '000')"
