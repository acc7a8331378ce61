"""Rows that one worker at a time works on: find what is due, claim a row, update it, release it.

A lease expires by the database's clock, so the work of a dead worker is taken over. Each UPDATE of
a claimed row checks the owner of the lease: a worker that has lost it changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import uuid4

from sqlalchemy import (
    ColumnElement,
    Engine,
    Select,
    String,
    and_,
    inspect,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy import Connection as Database
from sqlalchemy.orm import InstrumentedAttribute, Mapped, Session, mapped_column

from app.database.clock import Clock, is_over
from app.database.columns import Timestamp
from app.database.engine import single_reads

NO_LEASE: dict[str, Any] = {"lease_owner": None, "lease_until": None}


class LeasedRow:
    """The columns of a lease; a model inherits them."""

    lease_owner: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[datetime | None] = mapped_column(Timestamp)


class LeaseLost(Exception):
    """Another worker has taken over the row, or the row was changed or deleted."""


@dataclass(frozen=True)
class Range:
    """A condition for rows that are due, and the indexed column that sorts them."""

    rows: ColumnElement[bool]
    column: InstrumentedAttribute[Any]


M = TypeVar("M", bound=LeasedRow)


@dataclass(frozen=True)
class LeasedRows(Generic[M]):
    """The rows of one table."""

    engine: Engine
    clock: Clock
    model: type[M]
    #: The length of a lease.
    seconds: float
    #: The conditions for rows that are due.
    ranges: Callable[[Clock], Sequence[Range]]

    def due(self, limit: int) -> Sequence[Any]:
        """The first key column of the rows that are due and free, longest due first."""
        due = self.ranges(self.clock)
        key = inspect(self.model).primary_key[0]
        found = select(key, due[0].column).where(self.is_free())
        with single_reads(self.engine).connect() as database:
            return database.scalars(first(found, due, limit)).all()

    def is_free(self) -> ColumnElement[bool]:
        """No worker holds the row. A lease that ends too far in the future is ignored."""
        return is_over(self.model.lease_until, self.clock, 2 * self.seconds)

    def is_claimable(self) -> ColumnElement[bool]:
        """The row is due and free."""
        return and_(or_(*(each.rows for each in self.ranges(self.clock))), self.is_free())

    def claim(self, key: ColumnElement[bool], **values: Any) -> M | None:
        """Claim the row with this key and set `values`; None if it is not due or not free."""
        claimable = key & self.is_claimable()
        lease = {"lease_owner": uuid4().hex, "lease_until": self.lease_until()}
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            # Skip a row that another worker is claiming, instead of waiting for it.
            free = select(self.model.lease_owner).where(claimable)
            if session.execute(free.with_for_update(skip_locked=True)).first() is None:
                return None

            claiming = update(self.model).where(claimable).values(lease | values)
            returned = claiming.returning(self.model)
            return session.scalar(returned, execution_options={"synchronize_session": False})

    def claimed_at(self, held: M) -> datetime:
        """The database's time of the claim."""
        assert held.lease_until  # noqa: S101  `claim` has set it
        return held.lease_until - timedelta(seconds=self.seconds)

    def lease_until(self) -> ColumnElement[Any]:
        """The end of a lease that begins or is renewed now."""
        return self.clock.database_time(self.seconds)

    def finish(self, held: M, **values: Any) -> bool:
        """Set columns and release the lease; False if it was lost."""
        return self.set(held, **values, **NO_LEASE)

    def set(self, held: M, *only_if: ColumnElement[bool], **values: Any) -> bool:
        """Set columns in one transaction; False if the lease was lost or `only_if` is not true."""
        with self.engine.begin() as database:
            return self.set_within(database, held, *only_if, **values)

    def set_within(
        self, database: Database, held: M, *only_if: ColumnElement[bool], **values: Any
    ) -> bool:
        """The same in the caller's transaction, which locks the row until it ends."""
        mapper = inspect(self.model)
        its = zip(mapper.primary_key, mapper.primary_key_from_instance(held), strict=True)
        this_one = and_(*(column == value for column, value in its))
        owned = update(self.model).where(this_one, self.model.lease_owner == held.lease_owner)
        return database.execute(owned.where(*only_if).values(values)).rowcount == 1


def ranges(
    column: InstrumentedAttribute[Any], clock: Clock, longest: float, *also: ColumnElement[bool]
) -> Sequence[Range]:
    """`is_over` for a column that is not null, as two index ranges, with the conditions `also`."""
    # Subqueries: PostgreSQL uses no index for a comparison with `clock_timestamp()` itself.
    now, far = (select(clock.database_time(plus)).scalar_subquery() for plus in (0, longest))
    return [Range(and_(part, *also), column) for part in (column <= now, column > far)]


def first(found: Select[*tuple[Any, ...]], of: Sequence[Range], limit: int) -> Select[Any]:
    """The first rows of `found` that are in one of the ranges, sorted by the last column.

    Each range is a subquery of its own. If they were combined by `OR`, PostgreSQL would read all
    rows, including those that are due later.
    """
    parts = [found.where(each.rows).order_by(each.column).limit(limit).subquery() for each in of]
    together = union_all(*(select(part) for part in parts)).subquery()
    return select(together).order_by(list(together.c)[-1]).limit(limit)
