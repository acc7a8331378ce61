"""Clocks that a test holds in its hand."""

from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

from sqlalchemy import ColumnElement, bindparam

from app.database.clock import SystemClock, monotonic
from app.database.columns import Timestamp


class HeldClock:
    """Stands still until it is moved; sleeping moves it. `slept` tells how long was waited."""

    def __init__(self) -> None:
        self.moment = datetime.now(UTC)
        self.elapsed = monotonic()  # the transport looks at the real clock
        self.slept: list[float] = []

    def database_time(self, plus: float = 0) -> ColumnElement[Any]:
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
        self.moment += timedelta(seconds=seconds)
        self.elapsed += seconds


class LaterClock(SystemClock):
    """Real time, with the database's clock read as so many seconds later."""

    def __init__(self, later: float) -> None:
        self.later = later

    def database_time(self, plus: float = 0) -> ColumnElement[Any]:
        return super().database_time(plus + self.later)
