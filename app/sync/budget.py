"""Katana's rate limit, counted by all processes together, so that 429 is rare.

The connection's row of `sync_accounts` has the remaining requests, as Katana last reported. Before
each request, one conditional UPDATE takes one. The worker leaves a quarter (15 of Katana's 60) for
pages and the outbox.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Engine, case, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from app.connections.backoff import jitter
from app.database.clock import Clock, is_over, seconds_until
from app.database.engine import single_statements
from app.errors import ApiBusy
from app.katana.client import Meter
from app.katana.rate_limit import LONGEST_WINDOW_SECONDS, WINDOW_SECONDS, Allowance
from app.sync.models import SyncAccount

RESERVE_SHARE = 4  # one in four requests is reserved for pages and the outbox
SAME_WINDOW_SECONDS = 2  # a reset that differs by less belongs to the same window
LONGEST_PAUSE_SECONDS = 3600.0
# A stored time further ahead counts as past: the database's clock was wrong.
PAUSE_AHEAD_SECONDS, WINDOW_AHEAD_SECONDS = 2 * LONGEST_PAUSE_SECONDS, 2 * LONGEST_WINDOW_SECONDS

logger = logging.getLogger(__name__)


class Budget:
    """How many requests each connection may still send."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = single_statements(engine)
        self._clock = clock

    def meter(self, connection_id: UUID, *, leave_reserve: bool) -> Meter:
        """The meter of a connection, which a KatanaApi calls before and after each request."""
        return _Metered(self, connection_id, leave_reserve)

    def take(self, connection_id: UUID, *, leave_reserve: bool) -> None:
        """Take one request. Raises ApiBusy with the seconds to wait if none is left."""
        account, clock = SyncAccount, self._clock
        ended = is_over(account.budget_until, clock, WINDOW_AHEAD_SECONDS)
        left = case((ended, account.budget_limit), else_=account.budget_left)
        until = case((ended, clock.database_time(WINDOW_SECONDS)), else_=account.budget_until)
        reserve = account.budget_limit // RESERVE_SHARE if leave_reserve else 0
        this_one = account.connection_id == connection_id
        paused = is_over(account.paused_until, clock, PAUSE_AHEAD_SECONDS)
        taking = update(account).where(this_one, paused, left > reserve)
        why = select(account.paused_until, account.budget_until, clock.database_time())
        with self._engine.connect() as database:
            if database.execute(taking.values(budget_left=left - 1, budget_until=until)).rowcount:
                return

            row = database.execute(why.where(this_one)).first()
        if row is None:
            return  # sync has not begun: the connection has no row yet

        seconds = max(
            seconds_until(row.paused_until, row[2], PAUSE_AHEAD_SECONDS),
            seconds_until(row.budget_until, row[2], WINDOW_AHEAD_SECONDS),
        )
        raise ApiBusy("Katana's rate limit leaves no request now", seconds)

    def note(self, connection_id: UUID, allowance: Allowance) -> None:
        """Store what a response reported."""
        if allowance.pause:
            logger.warning("connection %s: Katana answered 429", connection_id)
        if allowance.remaining is None and not allowance.pause:
            return

        account, clock = SyncAccount, self._clock
        # Katana may not have counted requests that are under way, so within a window the lower
        # number is kept.
        remaining, limit = allowance.remaining or 0, allowance.limit or account.budget_limit
        newer = account.budget_until < clock.database_time(allowance.seconds - SAME_WINDOW_SECONDS)
        anew = or_(newer, account.budget_limit != limit, account.budget_left > remaining)
        pause = min(allowance.pause * jitter(1, 1.1), LONGEST_PAUSE_SECONDS)
        noting = update(account).values(
            budget_limit=limit,
            budget_left=case((anew, remaining), else_=account.budget_left),
            budget_until=clock.database_time(allowance.seconds),
            paused_until=clock.database_time(pause) if pause else account.paused_until,
        )
        with self._engine.connect() as database:
            database.execute(noting.where(account.connection_id == connection_id))


@dataclass
class _Metered:
    budget: Budget
    connection_id: UUID
    leave_reserve: bool
    #: Set when the database fails: a page is then read without counting its requests.
    is_off: bool = False

    def before(self) -> None:
        if not self.is_off:
            with self._tolerant():
                self.budget.take(self.connection_id, leave_reserve=self.leave_reserve)

    def after(self, allowance: Allowance) -> None:
        if not self.is_off:
            with self._tolerant():
                self.budget.note(self.connection_id, allowance)

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            if self.leave_reserve:
                raise  # the worker needs the database anyway

            kind = type(error).__name__
            logger.warning("requests are not counted: the database fails (%s)", kind)
            self.is_off = True
