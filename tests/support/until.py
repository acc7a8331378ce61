"""Waits for an event in another thread or process."""

import time
from collections.abc import Callable

SECONDS = 90  # far more than any event needs, also on a busy machine
_LOOK_SECONDS = 0.01


def until(
    happened: Callable[[], object],
    else_say: Callable[[], str] = lambda: "it did not happen",
    seconds: float = SECONDS,
) -> None:
    """Check again and again. Fail if it has not happened in time."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, else_say()
        time.sleep(_LOOK_SECONDS)
