"""The clock of the sandbox. Tests can replace it."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time, and waits."""

    def now(self) -> datetime:
        """Return the time as an aware datetime in UTC."""

    def sleep(self, seconds: float) -> None:
        """Return after this many seconds."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """Return the machine's time, aware, in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Return after this many seconds."""
        time.sleep(seconds)


def iso(moment: datetime) -> str:
    """Return the time in Katana's format: ISO 8601, milliseconds, `Z`."""
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
