"""Sales orders with their rows."""

from app.katana.fields import Json, amount, dated, moment, number, parts, required, text
from app.sync.copy import Order, OrderRow
from app.sync.resources import Read, Resource


def read(record: Json) -> Read:
    """A sales order: developer.katanamrp.com/reference/list-all-sales-orders."""
    dates = dated(record)
    ordered_at = moment(record, "order_created_date") or moment(record, "created_at")
    columns = {
        "number": text(record, "order_no", 200),
        "customer_id": number(record, "customer_id"),
        "status": text(record, "status", 40),
        "total": amount(record, "total"),
        "currency": text(record, "currency", 10),
        "ordered_at": ordered_at or dates["updated_at"],  # pages sort orders by it
        "delivery_at": moment(record, "delivery_date"),
    }
    rows = [_row(row) for row in parts(record, "sales_order_rows")]
    return Read((required(record, "id"),), columns | dates, rows)


def _row(row: Json) -> dict[str, object]:
    return {
        "id": required(row, "id"),
        "variant_id": number(row, "variant_id"),
        "quantity": amount(row, "quantity"),
        "price_per_unit": amount(row, "price_per_unit"),
        "total": amount(row, "total"),
    }


EVENTS = (
    "created",
    "updated",
    "packed",
    "delivered",
    "approved",
    "deleted",
    "availability_updated",
)

ORDERS = Resource(
    "/sales_orders",
    Order,
    read,
    events=tuple(f"sales_order.{event}" for event in EVENTS),
    parts=(OrderRow, "order_id"),
)
