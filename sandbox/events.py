"""Katana's webhook events, and the payload of each."""

from dataclasses import dataclass

_ORDER = "created packed delivered updated approved deleted availability_updated"
_PURCHASE = "created updated deleted partially_received received approved"
_MADE = "created updated deleted in_progress blocked done"
_OPERATION = "created updated deleted in_progress paused blocked completed"
_STOCK = "product_updated material_updated product_out_of_stock material_out_of_stock"
_CHANGED = "created updated deleted"

_ACTIONS = {
    "sales_order": _ORDER,
    "purchase_order": _PURCHASE,
    "purchase_order_row": "created received updated deleted",
    "outsourced_purchase_order": "created updated deleted received approved",
    "outsourced_purchase_order_row": "created updated deleted received",
    "outsourced_purchase_order_recipe_row": _CHANGED,
    "manufacturing_order": _MADE,
    "manufacturing_order_recipe_row": f"{_CHANGED} ingredients_in_stock",
    "manufacturing_order_operation_row": _OPERATION,
    "current_inventory": _STOCK,
    "product": _CHANGED,
    "material": _CHANGED,
    "variant": _CHANGED,
    "product_recipe_row": _CHANGED,
}

#: Every event that a webhook may subscribe to. Customers have no events.
EVENTS = frozenset(
    f"{resource}.{action}" for resource, actions in _ACTIONS.items() for action in actions.split()
)
_WITHOUT_HREF = ("sales_order.deleted", "product_recipe_row.deleted")


@dataclass(frozen=True)
class Event:
    """An event of one record; `path` is the path of the record in the API."""

    action: str
    id: object
    path: str
    status: str | None = None

    def payload(self, webhook: int, base: str, ids: str) -> dict[str, object]:
        """Return the payload that Katana posts; `ids` is the form of an id, `text` or `number`."""
        changed: dict[str, object] = {"id": str(self.id) if ids == "text" else self.id}
        if self.status is not None:
            changed["status"] = self.status
        if self.action not in _WITHOUT_HREF:
            changed["href"] = f"{base}{self.path}"
        return {
            "resource_type": self.action.partition(".")[0],
            "action": self.action,
            "webhook_id": webhook,
            "object": changed,
        }


def order_event(action: str, order_id: object, status: object) -> Event:
    """Return an event of a sales order."""
    told = status if isinstance(status, str) else None
    return Event(f"sales_order.{action}", order_id, f"/v1/sales_orders/{order_id}", told)


def stock_event(action: str, variant_id: object) -> Event:
    """Return an event of a variant's stock."""
    path = f"/v1/inventory?variant_id={variant_id}"
    return Event(f"current_inventory.{action}", variant_id, path)
