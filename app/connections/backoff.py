"""Back-off and polling intervals: after a failure, for another caller's refresh, between saves.

All are in seconds and have jitter, so that callers and connections do not act in step.
"""

import random

PATIENCE_SECONDS = 15  # a caller waits this long for another caller's refresh
WORTH_WAITING_SECONDS = 3.5  # after a longer back-off the caller gets an error instead
SETTLE_SECONDS = (
    2.0  # before a token is sent again: Katana may still be working on the first request
)
PROBE_SECONDS = 60  # while the circuit breaker is open, one connection in this time is tried
REFUSED_SECONDS = 3.0  # between refreshes that the API asks for by refusing good tokens
BROKEN_SEAL_SECONDS = 60.0

_FIRST_SECONDS, _LONGEST_SECONDS = 2.0, 300.0  # after a failure; doubles with each
_LONGEST_RETRY_AFTER_SECONDS = 3600.0
LONGEST_PAUSE_SECONDS = 1.5 * _LONGEST_RETRY_AFTER_SECONDS  # with the largest factor
RARE_LOOK_SECONDS = (
    0.3  # between two reads of the row by a thread that does not poll, as a fallback
)

_LOOK_SECONDS, _LOOK_GROWTH = (0.01, 0.3), 1.15  # first and later ones; how fast they part
_SAVE_SECONDS, _SAVE_GROWTH = (0.05, 2.0), 1.3
#: Between taking over a lease that ran out and sending: longer than the longest pause between two
#: tries to save, so that a holder that waits for the same database saves its response first.
TAKEOVER_SECONDS = _SAVE_SECONDS[1] + 3.0


def growing(failures: int) -> float:
    """Back-off in seconds after `failures` in a row: doubles with each, up to five minutes."""
    return exponential(failures, _FIRST_SECONDS, _LONGEST_SECONDS)


def exponential(failures: int, first: float, longest: float) -> float:
    """Seconds of back-off: `first`, doubled with each of `failures`, `longest` at most."""
    return min(longest, first * 2.0 ** min(failures, 20))


def grown(failures: int) -> float:
    """The same with jitter."""
    return growing(failures) * jitter(1, 1.5)


def asked_for(retry_after: float | None) -> float:
    """Back-off in seconds that Katana asks for, up to an hour; 0 if it asks for none."""
    return min(retry_after or 0.0, _LONGEST_RETRY_AFTER_SECONDS)


def before_next_look(looks: int) -> float:
    """Seconds between two polls for another caller's refresh: about a sixth of the wait so far."""
    return _between(_LOOK_SECONDS, _LOOK_GROWTH, looks)


def before_next_save(tries: int) -> float:
    """Seconds between two tries to save a token response."""
    return _between(_SAVE_SECONDS, _SAVE_GROWTH, tries)


def jitter(least: float, most: float) -> float:
    """A factor between the two."""
    return random.uniform(least, most)  # noqa: S311  nothing secret hangs on it


def _between(seconds: tuple[float, float], growth: float, step: int) -> float:
    """From the first towards the second, `growth` times as much with each step."""
    least, most = seconds
    return min(most, least * growth ** min(step, 50)) * jitter(0.7, 1)
