"""Waiting times: back-off after a failure, polling during another caller's refresh, between saves.

All are in seconds and have jitter, so that callers do not act at the same moment.
"""

import random

PATIENCE_SECONDS = 15  # how long a caller waits for another caller's refresh
SHORT_BACK_OFF_SECONDS = 3.5  # callers wait for the end of a back-off up to this long, else raise
#: Before a refresh token is sent again: Katana may still be working on the first request.
SETTLE_SECONDS = 2.0
PROBE_SECONDS = 60  # between two probes while the circuit breaker is open
REFUSED_SECONDS = 3.0  # between refreshes because the API refuses tokens that have not expired
BROKEN_SEAL_SECONDS = 60.0  # after a stored refresh token could not be decrypted

_FIRST_SECONDS, _LONGEST_SECONDS = 2.0, 300.0  # after the first failure; the maximum
_LONGEST_RETRY_AFTER_SECONDS = 3600.0
LONGEST_PAUSE_SECONDS = 1.5 * _LONGEST_RETRY_AFTER_SECONDS  # an upper bound, with jitter
#: A thread that waits for a notification reads the row after this time, in case none comes.
FALLBACK_POLL_SECONDS = 0.3

_POLL_SECONDS, _POLL_GROWTH = (0.01, 0.3), 1.15  # first and longest interval; factor per step
_SAVE_SECONDS, _SAVE_GROWTH = (0.05, 2.0), 1.3
#: From a takeover until the token is sent. Longer than the longest interval between two saves, so
#: that the former holder, if it waits for the database, saves its response first.
TAKEOVER_SECONDS = _SAVE_SECONDS[1] + 3.0


def back_off_seconds(failures: int) -> float:
    """Back-off after `failures` in a row: doubles with each, up to five minutes."""
    return exponential(failures, _FIRST_SECONDS, _LONGEST_SECONDS)


def exponential(failures: int, first: float, longest: float) -> float:
    """Seconds of back-off: `first`, doubled with each of `failures`, `longest` at most."""
    return min(longest, first * 2.0 ** min(failures, 20))


def back_off_with_jitter(failures: int) -> float:
    """`back_off_seconds` with jitter."""
    return back_off_seconds(failures) * jitter(1, 1.5)


def requested_back_off(retry_after: float | None) -> float:
    """The back-off that Katana requests by `Retry-After`, up to an hour; 0 without the header."""
    return min(retry_after or 0.0, _LONGEST_RETRY_AFTER_SECONDS)


def poll_interval(polls: int) -> float:
    """Seconds between two polls for another caller's refresh: about a sixth of the wait so far."""
    return _interval(_POLL_SECONDS, _POLL_GROWTH, polls)


def save_interval(tries: int) -> float:
    """Seconds between two tries to save a token response."""
    return _interval(_SAVE_SECONDS, _SAVE_GROWTH, tries)


def jitter(least: float, most: float) -> float:
    """A random factor between `least` and `most`."""
    return random.uniform(least, most)  # noqa: S311  not used for a secret


def _interval(seconds: tuple[float, float], growth: float, step: int) -> float:
    """From the first to the longest of `seconds`, times `growth` with each step, with jitter."""
    first, longest = seconds
    return min(longest, first * growth ** min(step, 50)) * jitter(0.7, 1)
