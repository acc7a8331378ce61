"""Stock from the copy, over all locations: variants that run short come first.

A variant runs short if the stock and the expected amount are less than the committed amount and the
safety stock. Katana calls the difference the missing amount.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Float, case, cast, func, select, type_coerce
from sqlalchemy.orm import InstrumentedAttribute

from app.database.db import db
from app.pages.copy.products import Named, names
from app.sync.copy import StockLevel, shown

AT_ONCE = 25
MOST_PAGE = 100_000


@dataclass(frozen=True)
class StockLine:
    """The amounts of one variant, over all locations."""

    named: Named
    in_stock: Decimal
    committed: Decimal
    expected: Decimal
    #: The safety stock.
    safety_level: Decimal

    @property
    def short_by(self) -> Decimal:
        """The missing amount; 0 if nothing is missing."""
        missing = self.committed + self.safety_level - self.in_stock - self.expected
        return max(Decimal(0), missing)


@dataclass(frozen=True)
class Stock:
    """A page of the list."""

    lines: Sequence[StockLine]
    total: int
    short: int
    page: int
    pages: int


def stock(connection_id: UUID, page: int = 1, limit: int = AT_ONCE) -> Stock:
    """A page of the stock: first what runs short, then by name. After the end: the last page.

    The database sorts by sums of floats, which cannot overflow. The amounts that are shown are
    exact.
    """
    found = _page(connection_id, page, limit)
    if not found and page > 1:
        first = _page(connection_id, 1, 1)
        page = _pages(first[0].total, limit) if first else 1
        found = _page(connection_id, page, limit)
    total, short = (found[0].total, found[0].short) if found else (0, 0)
    return Stock(_lines(connection_id, found), total, int(short), page, _pages(total, limit))


def page_of(given: str | None) -> int:
    """The page number in a URL; 1 if it is missing or invalid."""
    number = given or ""
    is_one = number.isascii() and number.isdigit() and len(number) <= len(str(MOST_PAGE))
    return max(1, int(number)) if is_one else 1


def _page(connection_id: UUID, page: int, limit: int) -> Sequence[Any]:
    """Variants with their names. Each row also has the counts of all variants and of short ones."""
    lacks = (
        shown(StockLevel, connection_id)
        .with_only_columns(StockLevel.variant_id, func.sum(_lack()).label("lack"))
        .group_by(StockLevel.variant_id)
        .subquery()
    )
    named = names(connection_id).subquery()
    is_short = case((lacks.c.lack > 0, 1), else_=0)
    in_all = (func.count().over().label("total"), func.sum(is_short).over().label("short"))
    found = (
        select(lacks.c.variant_id, named.c.name, named.c.sku, named.c.unit, *in_all)
        .outerjoin(named, named.c.id == lacks.c.variant_id)
        .order_by(is_short.desc(), named.c.name.nulls_last(), named.c.sku, lacks.c.variant_id)
        .limit(limit)
        .offset((page - 1) * limit)
    )
    return db.session.execute(found).all()


def _pages(total: int, limit: int) -> int:
    return max(1, -(-total // limit))


def _lines(connection_id: UUID, found: Sequence[Any]) -> Sequence[StockLine]:
    levels: Mapping[int, list[StockLevel]] = defaultdict(list)
    ids = [row.variant_id for row in found]
    rows = shown(StockLevel, connection_id).where(StockLevel.variant_id.in_(ids))
    for level in db.session.scalars(rows) if ids else ():
        levels[level.variant_id].append(level)
    return [
        StockLine(
            _named(row),
            in_stock=_sum(level.in_stock for level in levels[row.variant_id]),
            committed=_sum(level.committed for level in levels[row.variant_id]),
            expected=_sum(level.expected for level in levels[row.variant_id]),
            safety_level=_sum(level.safety_level for level in levels[row.variant_id]),
        )
        for row in found
    ]


def _named(row: Any) -> Named:
    known = row.name is not None
    return Named(row.name, row.sku, row.unit) if known else Named.unknown(row.variant_id)


def _lack() -> ColumnElement[float]:
    level = StockLevel
    needed = _float(level.committed) + _float(level.safety_level)
    return needed - _float(level.in_stock) - _float(level.expected)


def _float(amount: InstrumentedAttribute[Decimal]) -> ColumnElement[float]:
    return cast(type_coerce(amount, BigInteger), Float)


def _sum(amounts: Any) -> Decimal:
    return sum(amounts, start=Decimal(0))
