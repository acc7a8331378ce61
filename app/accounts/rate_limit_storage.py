"""Flask-Limiter's counters in the database, shared by all workers."""

import time
from typing import Any

from limits.storage import Storage
from sqlalchemy import ColumnElement, case, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from app.accounts.models import RateLimit
from app.database.clock import SystemClock
from app.database.db import db
from app.database.engine import single_statements

KEPT_SECONDS = 60  # a counter may still be read after its window
LONGEST_WINDOW_SECONDS = 3600  # of all limits in `throttle.py`
CLEARED = 100  # the most old counters to delete when a window begins


class DatabaseCounters(Storage):
    """The storage `database://`: the rows of `rate_limits`.

    Each call uses a connection and a transaction of its own, so it commits nothing of the
    request's. It stores no engine: it uses that of the current app.
    """

    STORAGE_SCHEME = ["database"]  # noqa: RUF012  the base class declares it so
    base_exceptions = SQLAlchemyError
    _now = staticmethod(SystemClock().database_time)

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count, and return the count, in one statement: no two workers get the same number."""
        insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[
            db.engine.dialect.name
        ]
        over = self._is_over()
        count = insert(RateLimit).values(key=key, hits=amount, expires_at=self._now(expiry))
        counted = count.on_conflict_do_update(
            index_elements=[RateLimit.key],
            set_={
                "hits": case((over, amount), else_=RateLimit.hits + amount),
                "expires_at": case((over, self._now(expiry)), else_=RateLimit.expires_at),
            },
        )
        hits = int(self._run(counted.returning(RateLimit.hits)))
        if hits == amount:  # a window begins: delete old counters
            # A subquery, since PostgreSQL uses no index to compare with its clock directly.
            old = RateLimit.expires_at < select(self._now(-KEPT_SECONDS)).scalar_subquery()
            some = select(RateLimit.key).where(old).order_by(RateLimit.expires_at).limit(CLEARED)
            self._run(delete(RateLimit).where(RateLimit.key.in_(some)))
        return hits

    def get(self, key: str) -> int:
        """The count of the current window."""
        return int(self._run(select(RateLimit.hits).where(self._current(key))) or 0)

    def get_expiry(self, key: str) -> float:
        """When the current window ends, in seconds since 1970."""
        end = self._run(select(RateLimit.expires_at).where(self._current(key)))
        return float(end.timestamp()) if end else time.time()

    def check(self) -> bool:
        """Whether the database responds."""
        return bool(self._run(select(1)))

    def reset(self) -> int | None:
        """Delete all counters."""
        self._run(delete(RateLimit))
        return None

    def clear(self, key: str) -> None:
        """Delete one counter."""
        self._run(delete(RateLimit).where(RateLimit.key == key))

    def _current(self, key: str) -> ColumnElement[bool]:
        return (RateLimit.key == key) & ~self._is_over()

    def _is_over(self) -> ColumnElement[bool]:
        """Whether the window has ended. One too far ahead counts as ended: the clock was wrong."""
        far = self._now(2 * LONGEST_WINDOW_SECONDS)
        return or_(RateLimit.expires_at <= self._now(), RateLimit.expires_at > far)

    def _run(self, statement: Any) -> Any:
        with single_statements(db.engine).connect() as connection:
            result = connection.execute(statement)
            return result.scalar() if result.returns_rows else None
