"""How far ahead a stored time can lie.

A time further ahead was written while the database's clock was wrong (a restored virtual machine, a
wrong time zone). It counts as over: correcting the clock must not block a connection until then.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, or_
from sqlalchemy.orm import InstrumentedAttribute

from app.connections.backoff import LONGEST_PAUSE_SECONDS
from app.database.clock import Clock
from app.katana.oauth import STATED_LIFE_SECONDS

LONGEST_LEASE_SECONDS = 60  # a dead holder blocks nobody longer
#: Twice the longest lease: a clock that is set back by a second must not make a lease over while
#: its holder waits for Katana, since a second send would end the grant.
LEASE_AHEAD_SECONDS = 2 * LONGEST_LEASE_SECONDS
PAUSE_AHEAD_SECONDS = LONGEST_PAUSE_SECONDS
LIFE_AHEAD_SECONDS = STATED_LIFE_SECONDS.stop
PAST_AHEAD_SECONDS = 60  # of what has happened: a small correction of the clock is no mistake


def seconds_until(moment: datetime | None, at: datetime, longest: float) -> float:
    """Seconds from `at` until `moment`; 0 if it is over, or further ahead than `longest`."""
    left = (moment - at).total_seconds() if moment else 0.0
    return left if 0 < left <= longest else 0.0


def is_over(
    column: InstrumentedAttribute[Any], clock: Clock, longest: float
) -> ColumnElement[bool]:
    """The same in SQL: nothing is set, it is past, or it lies further ahead than `longest`."""
    return or_(
        column.is_(None),
        column <= clock.database_time(),
        column > clock.database_time(longest),
    )
