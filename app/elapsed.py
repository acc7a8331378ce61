"""Seconds that pass, those included through which the machine sleeps.

A host that is suspended between claiming a lease and sending has to know, on waking up, that it is
late: meanwhile another host may have sent the token that it holds. What `time.monotonic()` reads
stands still through a suspend on Linux (clock_gettime(2)), CLOCK_BOOTTIME does not; on macOS
CLOCK_MONOTONIC goes on. Where whoever runs a virtual machine stops all of its clocks, nothing in it
can tell.
"""

import time

_GOES_ON = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def monotonic() -> float:
    """Seconds on a clock that no one can set, and that does not sleep."""
    return time.clock_gettime(_GOES_ON)
