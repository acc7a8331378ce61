"""Sixty-four sales orders for an invented factory, oldest first, in the shape of Katana's own."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from app.sandbox.clock import iso
from app.sandbox.factories import Factory

Record = dict[str, Any]

_HOW_MANY = 64


def sales_orders(
    factory: Factory, customers: Sequence[Record], variants: Sequence[Record], now: datetime
) -> list[Record]:
    """Return the orders, the newest a few hours old; each has one to three rows."""
    return [
        _order(factory, n, customers[(n * 5 + 2) % len(customers)], variants, now)
        for n in range(_HOW_MANY)
    ]


def _order(
    factory: Factory, n: int, customer: Record, variants: Sequence[Record], now: datetime
) -> Record:
    age = _HOW_MANY - 1 - n
    created = now - timedelta(hours=3 + 29 * age, minutes=17 * age)
    order_id = factory.first_id * 10 + n
    rows = [
        _row(factory, order_id, m, variants[(n * 7 + m * 3) % len(variants)], created, n)
        for m in range(1 + n % 3)
    ]
    total = sum(row["total"] for row in rows)
    return {
        "id": order_id,
        "customer_id": customer["id"],
        "order_no": f"SO-{n + 1}",
        "source": "api" if n % 4 else "manual",
        "status": _status(age),
        "invoicing_status": "invoiced" if age > 10 else "notInvoiced",
        "order_created_date": iso(created),
        "delivery_date": iso(created + timedelta(days=14)),
        "picked_date": iso(created + timedelta(days=6)) if age > 10 else None,
        "location_id": factory.first_id + 1,
        "currency": factory.currency,
        "conversion_rate": 1,
        "conversion_date": None,
        "total": total,
        "total_in_base_currency": total,
        "additional_info": "",
        "customer_ref": None,
        "tracking_number": None,
        "tracking_number_url": None,
        "product_availability": _availability(age),
        "product_expected_date": None,
        "ingredient_availability": "NOT_APPLICABLE",
        "ingredient_expected_date": None,
        "production_status": "DONE" if age > 10 else "NOT_APPLICABLE",
        "ecommerce_order_type": None,
        "ecommerce_store_name": None,
        "ecommerce_order_id": None,
        "billing_address_id": None,
        "shipping_address_id": None,
        "custom_fields": {},
        "addresses": [],
        "shipping_fee": None,
        "sales_order_rows": rows,
        "created_at": iso(created),
        "updated_at": iso(created),
    }


def _row(
    factory: Factory, order_id: int, m: int, variant: Record, created: datetime, n: int
) -> Record:
    quantity, price = 1 + (n * 3 + m) % 4, variant["sales_price"]
    return {
        "id": order_id * 10 + m,
        "sales_order_id": order_id,
        "variant_id": variant["id"],
        "quantity": quantity,
        "price_per_unit": price,
        "price_per_unit_in_base_currency": price,
        "tax_rate_id": factory.first_id + 3,
        "location_id": factory.first_id + 1,
        "total": quantity * price,
        "total_in_base_currency": quantity * price,
        "total_discount": "0.00",
        "product_availability": _availability(_HOW_MANY - 1 - n),
        "product_expected_date": None,
        "linked_manufacturing_order_id": None,
        "conversion_rate": 1,
        "conversion_date": None,
        "serial_numbers": [],
        "batch_transactions": [],
        "traceability": [],
        "attributes": [],
        "created_at": iso(created),
        "updated_at": iso(created),
    }


def _status(age: int) -> str:
    """Return how far an order is that so many others have followed."""
    if age > 10:
        return "DELIVERED"
    if age > 6:
        return "PACKED"

    return "PENDING" if age % 4 == 3 else "NOT_SHIPPED"


def _availability(age: int) -> str:
    if age > 6:
        return "PICKED"

    return "EXPECTED" if age % 3 == 1 else "IN_STOCK"
