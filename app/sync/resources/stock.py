"""Stock of each variant at each location. It has no `updated_at`, so it is read whole."""

from decimal import Decimal

from app.katana.fields import Json, amount, required
from app.sync.copy import StockLevel
from app.sync.resources import Read, Resource


def read(record: Json) -> Read:
    """A row of stock: developer.katanamrp.com/reference/list-current-inventory."""
    columns = {
        "in_stock": _quantity(record, "quantity_in_stock"),
        "committed": _quantity(record, "quantity_committed"),
        "expected": _quantity(record, "quantity_expected"),
        "safety_level": _quantity(record, "safety_stock_level", "reorder_point"),
    }
    return Read((required(record, "variant_id"), required(record, "location_id")), columns)


def _quantity(record: Json, *names: str) -> Decimal:
    found = (amount(record, name) for name in names)
    return next((amount for amount in found if amount is not None), Decimal(0))


EVENTS = (
    "product_updated",
    "material_updated",
    "product_out_of_stock",
    "material_out_of_stock",
)

STOCK = Resource(
    "/inventory",
    StockLevel,
    read,
    key=("variant_id", "location_id"),
    dated=False,
    by_id="variant_id",
    query={},
    events=tuple(f"current_inventory.{event}" for event in EVENTS),
)
