"""Waiting for what happens in another thread or process."""

import time
from collections.abc import Callable

SECONDS = 90  # far more than anything here takes, on a busy machine as well
_LOOK_SECONDS = 0.01


def until(
    happened: Callable[[], object],
    else_say: Callable[[], str] = lambda: "it did not happen",
    seconds: float = SECONDS,
) -> None:
    """Look again and again; fail where it has not happened by then."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, else_say()
        time.sleep(_LOOK_SECONDS)
