"""Orders from the copy. Each query is limited to one connection, so no id finds another's order.

Lists use keyset pagination: a new order does not move other orders to another page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, literal, or_, select, tuple_

from app.database.columns import Timestamp
from app.database.db import db
from app.pages.copy.products import Named, names_of
from app.pages.copy.search import Position, Search
from app.sync.copy import Customer, Order, OrderRow, shown

AT_ONCE = 25


@dataclass(frozen=True)
class OrderLine:
    """A sales order in a list."""

    id: int
    number: str
    customer: str
    status: str
    total: Decimal | None
    currency: str
    ordered_at: datetime | None


@dataclass(frozen=True)
class Orders:
    """A page of the list."""

    lines: Sequence[OrderLine]
    #: How many orders match the text, by status.
    counts: Mapping[str, int]
    #: The positions for the links to newer and older orders; None at the end.
    newer: Position | None
    older: Position | None


@dataclass(frozen=True)
class RowLine:
    """One row of an order."""

    product: Named
    quantity: Decimal | None
    price: Decimal | None
    total: Decimal | None


@dataclass(frozen=True)
class WholeOrder:
    """An order with its rows."""

    line: OrderLine
    email: str
    delivery_at: datetime | None
    rows: Sequence[RowLine]


def latest(connection_id: UUID, limit: int) -> Sequence[OrderLine]:
    """The newest orders, newest first."""
    return _lines(connection_id, _read(_newest_first(shown(Order, connection_id)).limit(limit)))


def search(connection_id: UUID, asked: Search) -> Orders:
    """The orders that match `asked`, newest first, at most AT_ONCE."""
    matching = shown(Order, connection_id)
    if asked.text:
        matching = matching.where(_holds(connection_id, asked.text))
    counts = _counts(matching)
    if asked.status:
        matching = matching.where(Order.status == asked.status)
    if asked.newer:
        found = _read(_oldest_first(matching.where(_place() > _of(asked.newer))).limit(AT_ONCE + 1))
        if len(found) > AT_ONCE:  # else it would be less than a full page: show the first page
            return _part(connection_id, found[AT_ONCE - 1 :: -1], counts, newer=True, older=True)

    behind = matching.where(_place() < _of(asked.older)) if asked.older else matching
    found = _read(_newest_first(behind).limit(AT_ONCE + 1))
    has_newer, has_older = bool(asked.older), len(found) > AT_ONCE
    return _part(connection_id, found[:AT_ONCE], counts, newer=has_newer, older=has_older)


def one(connection_id: UUID, order_id: int) -> WholeOrder | None:
    """An order with its rows; None if this connection has no order with this id."""
    order = db.session.scalar(shown(Order, connection_id).where(Order.id == order_id))
    if order is None:
        return None

    its = select(OrderRow).where(
        OrderRow.connection_id == connection_id, OrderRow.order_id == order_id
    )
    rows = db.session.scalars(its.order_by(OrderRow.id)).all()
    products = names_of(connection_id, [row.variant_id for row in rows if row.variant_id])
    email = shown(Customer, connection_id).where(Customer.id == order.customer_id)
    (line,) = _lines(connection_id, [order])
    return WholeOrder(
        line=line,
        email=db.session.scalar(email.with_only_columns(Customer.email)) or "",
        delivery_at=order.delivery_at,
        rows=[
            RowLine(
                products.get(row.variant_id or 0, Named.unknown(row.variant_id)),
                row.quantity,
                row.price_per_unit,
                row.total,
            )
            for row in rows
        ],
    )


def _part(
    connection_id: UUID,
    orders: Sequence[Order],
    counts: Mapping[str, int],
    *,
    newer: bool,
    older: bool,
) -> Orders:
    lines = _lines(connection_id, orders)
    ends = [Position(order.ordered_at, order.id) for order in orders if order.ordered_at]
    return Orders(
        lines,
        counts,
        newer=ends[0] if newer and ends else None,
        older=ends[-1] if older and ends else None,
    )


def _lines(connection_id: UUID, orders: Sequence[Order]) -> Sequence[OrderLine]:
    ids = {order.customer_id for order in orders if order.customer_id is not None}
    named = shown(Customer, connection_id).where(Customer.id.in_(ids))
    customers = {row.id: row.name for row in db.session.scalars(named)} if ids else {}
    return [
        OrderLine(
            order.id,
            order.number,
            customers.get(order.customer_id or 0, ""),
            order.status,
            order.total,
            order.currency,
            order.ordered_at,
        )
        for order in orders
    ]


def _counts(matching: Select[Any]) -> Mapping[str, int]:
    counted = matching.with_only_columns(Order.status, func.count()).group_by(Order.status)
    return {status: count for status, count in db.session.execute(counted.order_by(Order.status))}


def _holds(connection_id: UUID, text: str) -> ColumnElement[bool]:
    # SQLite ignores case in ASCII only, so usual spellings of a name are searched too.
    spellings = {text, text.lower(), text.upper(), text.title()}
    customers = (
        shown(Customer, connection_id)
        .where(or_(*(Customer.name.icontains(spelt, autoescape=True) for spelt in spellings)))
        .with_only_columns(Customer.id)
    )
    return or_(
        Order.number.icontains(text, autoescape=True),
        Order.customer_id.in_(customers.scalar_subquery()),
    )


def _read(orders: Select[Any]) -> Sequence[Order]:
    return db.session.scalars(orders).all()


def _newest_first(orders: Select[Any]) -> Select[Any]:
    return orders.order_by(Order.ordered_at.desc(), Order.id.desc())


def _oldest_first(orders: Select[Any]) -> Select[Any]:
    return orders.order_by(Order.ordered_at, Order.id)


def _place() -> ColumnElement[Any]:
    return tuple_(Order.ordered_at, Order.id)


def _of(position: Position) -> ColumnElement[Any]:
    return tuple_(literal(position.ordered_at, Timestamp), literal(position.id))
