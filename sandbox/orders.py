"""Sales orders of a factory: the first sixty-four, and any number of later ones."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from sandbox.clock import iso
from sandbox.record_templates import Record, shaped
from sandbox.seed_factories import FACTORIES, Factory

_HOW_MANY = 64


def sales_orders(
    factory: Factory, customers: Sequence[Record], variants: Sequence[Record], now: datetime
) -> list[Record]:
    """Return the orders, the newest a few hours old; each has one to three rows."""
    ids = [customer["id"] for customer in customers]
    return [_first_order(factory, n, ids, variants, now) for n in range(_HOW_MANY)]


def _first_order(
    factory: Factory, n: int, customers: Sequence[int], variants: Sequence[Record], now: datetime
) -> Record:
    age = _HOW_MANY - 1 - n
    created = now - timedelta(hours=3 + 29 * age, minutes=17 * age)
    return sales_order(factory, n, customers, variants, created, age=age)


def sales_order(
    factory: Factory,
    n: int,
    customers: Sequence[int],
    variants: Sequence[Record],
    created: datetime,
    *,
    age: int = 0,
) -> Record:
    """Return the factory's order number `n`; `age` is the number of newer orders."""
    is_done = age > 10
    order_id = order_id_of(factory, n)
    bought = [variants[(n * 7 + m * 3) % len(variants)] for m in range(1 + n % 3)]
    rows = [_row(factory, order_id, m, variant, created) for m, variant in enumerate(bought)]
    total = sum(row["total"] for row in rows)
    return shaped(
        "sales_order",
        created,
        id=order_id,
        customer_id=customers[(n * 5 + 2) % len(customers)],
        order_no=f"SO-{n + 1}",
        source="api" if n % 4 else "manual",
        status=_status(age),
        invoicing_status="invoiced" if is_done else "notInvoiced",
        order_created_date=iso(created),
        delivery_date=iso(created + timedelta(days=14)),
        picked_date=iso(created + timedelta(days=6)) if is_done else None,
        location_id=factory.first_id + 1,
        currency=factory.currency,
        total=total,
        total_in_base_currency=total,
        product_availability=_availability(age),
        production_status="DONE" if is_done else "NOT_APPLICABLE",
        sales_order_rows=[row | {"product_availability": _availability(age)} for row in rows],
    )


def order_id_of(factory: Factory, n: int) -> int:
    """Return the id of order number `n`."""
    if n < _HOW_MANY:
        return factory.first_id * 10 + n

    return 10_000_000 + FACTORIES.index(factory) * 1_000_000 + n


def _row(factory: Factory, order_id: int, m: int, variant: Record, created: datetime) -> Record:
    quantity, price = 1 + (order_id * 3 + m) % 4, variant["sales_price"]
    return shaped(
        "sales_order_row",
        created,
        id=order_id * 10 + m,
        sales_order_id=order_id,
        variant_id=variant["id"],
        quantity=quantity,
        price_per_unit=money(price),
        price_per_unit_in_base_currency=money(price),
        tax_rate_id=factory.first_id + 3,
        location_id=factory.first_id + 1,
        total=quantity * price,
        total_in_base_currency=quantity * price,
    )


def money(amount: object) -> str:
    """Return a price as text, as in Katana's published schema of order rows."""
    return f"{Decimal(str(amount)):.10f}"


def _status(age: int) -> str:
    """Return the status of an order that has `age` newer orders."""
    if age > 10:
        return "DELIVERED"
    if age > 6:
        return "PACKED"

    return "PENDING" if age % 4 == 3 else "NOT_SHIPPED"


def _availability(age: int) -> str:
    if age > 6:
        return "PICKED"

    return "EXPECTED" if age % 3 == 1 else "IN_STOCK"
