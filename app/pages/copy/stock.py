"""Stock from the copy, over all locations: what runs short comes first.

Something runs short where what lies there and what is expected are less than what is committed and
what should lie there at least. Katana calls the difference the missing amount.
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
from app.pages.copy.products import Named, names, names_of
from app.sync.copy import StockLevel, shown

AT_ONCE = 25
MOST_PAGE = 100_000


@dataclass(frozen=True)
class StockLine:
    """How much there is of one variant, over all locations."""

    named: Named
    in_stock: Decimal
    committed: Decimal
    expected: Decimal
    #: What should lie there at least.
    safety_level: Decimal

    @property
    def short_by(self) -> Decimal:
        """How much is missing; 0 where nothing is."""
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
    """A page of the stock, by name; before all others what runs short. A page too far is the last.

    The database sorts by sums of floats, which no quantity can overflow; what is shown is exact.
    """
    lacks = (
        shown(StockLevel, connection_id)
        .with_only_columns(StockLevel.variant_id, func.sum(_lack()).label("lack"))
        .group_by(StockLevel.variant_id)
        .subquery()
    )
    is_short = case((lacks.c.lack > 0, 1), else_=0)
    counted = select(func.count(), func.coalesce(func.sum(is_short), 0)).select_from(lacks)
    total, short = db.session.execute(counted).one()
    pages = max(1, -(-total // limit))
    page = min(max(1, page), pages)
    named = names(connection_id).subquery()
    found = (
        select(lacks.c.variant_id)
        .outerjoin(named, named.c.id == lacks.c.variant_id)
        .order_by(is_short.desc(), named.c.name.nulls_last(), named.c.sku, lacks.c.variant_id)
        .limit(limit)
        .offset((page - 1) * limit)
    )
    ids = db.session.scalars(found).all()
    return Stock(_lines(connection_id, ids), total, int(short), page, pages)


def page_of(given: str | None) -> int:
    """The page that an address asks for; 1 where it says nothing that can be read."""
    number = given or ""
    is_one = number.isascii() and number.isdigit() and len(number) <= len(str(MOST_PAGE))
    return int(number) if is_one else 1


def _lines(connection_id: UUID, ids: Sequence[int]) -> Sequence[StockLine]:
    products = names_of(connection_id, ids)
    levels: Mapping[int, list[StockLevel]] = defaultdict(list)
    rows = shown(StockLevel, connection_id).where(StockLevel.variant_id.in_(ids))
    for level in db.session.scalars(rows):
        levels[level.variant_id].append(level)
    return [
        StockLine(
            products.get(number, Named.unknown(number)),
            in_stock=_sum(level.in_stock for level in levels[number]),
            committed=_sum(level.committed for level in levels[number]),
            expected=_sum(level.expected for level in levels[number]),
            safety_level=_sum(level.safety_level for level in levels[number]),
        )
        for number in ids
    ]


def _lack() -> ColumnElement[float]:
    level = StockLevel
    needed = _float(level.committed) + _float(level.safety_level)
    return needed - _float(level.in_stock) - _float(level.expected)


def _float(amount: InstrumentedAttribute[Decimal]) -> ColumnElement[float]:
    return cast(type_coerce(amount, BigInteger), Float)


def _sum(amounts: Any) -> Decimal:
    return sum(amounts, start=Decimal(0))
