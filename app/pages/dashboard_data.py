"""Katana data for the dashboard, read live: the latest orders, and some stock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from app.katana.client import KatanaApi

ORDERS = 8
PRODUCTS = 5
STOCK_LINES = 8


@dataclass(frozen=True)
class OrderLine:
    """A sales order as the page shows it."""

    number: str
    customer: str
    status: str
    total: Decimal | None
    currency: str
    created_at: datetime | None


@dataclass(frozen=True)
class StockLine:
    """The amounts of one variant, over all locations."""

    product: str
    sku: str
    unit: str
    in_stock: Decimal
    committed: Decimal


@dataclass(frozen=True)
class Overview:
    """The dashboard's data from Katana."""

    orders: Sequence[OrderLine]
    stock: Sequence[StockLine]


def overview(api: KatanaApi) -> Overview:
    """The latest orders and some stock, in four requests. Raises the API's errors."""
    return Overview(orders=_orders(api), stock=_stock(api))


def _orders(api: KatanaApi) -> Sequence[OrderLine]:
    orders = api.sales_orders(ORDERS)
    ids = {order.customer_id for order in orders if order.customer_id is not None}
    names = {customer.id: customer.name for customer in api.customers(sorted(ids))}
    return [
        OrderLine(
            number=order.number,
            customer=names.get(order.customer_id or 0, ""),
            status=order.status,
            total=order.total,
            currency=order.currency,
            created_at=order.created_at,
        )
        for order in orders
    ]


def _stock(api: KatanaApi) -> Sequence[StockLine]:
    variants = [
        (product, variant) for product in api.products(PRODUCTS) for variant in product.variants
    ]
    shown = variants[:STOCK_LINES]
    rows = api.stock([variant.id for _, variant in shown])
    return [
        StockLine(
            product=product.name,
            sku=variant.sku,
            unit=product.unit,
            in_stock=_sum(row.in_stock for row in rows if row.variant_id == variant.id),
            committed=_sum(row.committed for row in rows if row.variant_id == variant.id),
        )
        for product, variant in shown
    ]


def _sum(quantities: Iterable[Decimal]) -> Decimal:
    return sum(quantities, start=Decimal(0))
