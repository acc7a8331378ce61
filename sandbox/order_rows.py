"""Changes of the rows of an order, and the totals computed from them."""

from collections.abc import Sequence
from decimal import Decimal

from sandbox.orders import money
from sandbox.record_templates import Record
from sandbox.records import Kept, Records


def rows_of(order: Kept) -> list[Record]:
    """Return the rows of an order; empty if the order has an invalid form."""
    record = order.record
    rows = record.get("sales_order_rows") if isinstance(record, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def with_bought(order: Record, bought: Sequence[Record], variants: Records) -> Record:
    """Return the fields of an order with these rows; a missing price is that of the variant."""
    shape = order["sales_order_rows"][0]
    rows = []
    for place, fields in enumerate(bought):
        variant = variants.find(fields["variant_id"]).record
        row = shape | {"price_per_unit": variant["sales_price"]} | fields
        row["price_per_unit"] = money(row["price_per_unit"])
        total = _plain(Decimal(str(row["quantity"])) * Decimal(row["price_per_unit"]))
        row |= {"id": order["id"] * 10 + place, "total": total, "total_in_base_currency": total}
        rows.append(row | {"price_per_unit_in_base_currency": row["price_per_unit"]})
    return _with_rows(rows)


def one_more(order: Record, at: str) -> Record:
    """Return an order's fields with one more piece in its first row."""
    first, *others = order["sales_order_rows"]
    price, quantity = Decimal(str(first["price_per_unit"])), Decimal(str(first["quantity"])) + 1
    row = {"quantity": _plain(quantity), "total": _plain(quantity * price), "updated_at": at}
    return _with_rows([first | row | {"total_in_base_currency": row["total"]}, *others])


def _with_rows(rows: list[Record]) -> Record:
    """Return the rows and the totals computed from them."""
    total = _plain(sum(Decimal(str(each["total"])) for each in rows))
    return {"sales_order_rows": rows, "total": total, "total_in_base_currency": total}


def _plain(number: Decimal | int) -> int | float:
    return int(number) if number == int(number) else float(number)
