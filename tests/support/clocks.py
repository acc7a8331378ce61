"""Clocks that a test holds in its hand."""

from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from app.database.clock import Seconds, SystemClock, monotonic
from app.database.columns import Timestamp


class HeldClock:
    """Stands still until it is moved; sleeping moves it. `slept` tells how long was waited."""

    def __init__(self) -> None:
        self.start_again()

    def start_again(self) -> None:
        """Stand at the present moment."""
        self.moment = datetime.now(UTC).replace(microsecond=0)
        self.elapsed = monotonic()  # the transport looks at the real clock
        self.slept: list[float] = []

    def database_time(self, plus: Seconds = 0) -> ColumnElement[Any]:
        if isinstance(plus, BindParameter):
            return _Later(self.database_time(), plus)

        # Asked when a statement runs: some are built once and run at many moments.
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
        """Let time pass."""
        # In whole milliseconds, as SQLite computes: else a comparison would depend on rounding.
        self.moment += timedelta(milliseconds=round(seconds * 1000))
        self.elapsed += seconds


class LaterClock(SystemClock):
    """Real time, with the database's clock read as so many seconds later."""

    def __init__(self, later: float) -> None:
        self.later = later

    def database_time(self, plus: Seconds = 0) -> ColumnElement[Any]:
        if isinstance(plus, BindParameter):
            return _Later(super().database_time(self.later), plus)

        return super().database_time(plus + self.later)

    def sleep(self, seconds: float) -> None:
        self.later += seconds


class _Later(GenericFunction[Any]):
    """A moment plus seconds that are given when the statement runs."""

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
