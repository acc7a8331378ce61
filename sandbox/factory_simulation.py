"""Simulates a factory: records are added, changed and deleted while an app reads them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import count

from sandbox.clock import iso
from sandbox.events import Event, order_event, stock_event
from sandbox.order_rows import one_more, with_bought
from sandbox.orders import order_id_of, sales_order
from sandbox.record_templates import Record
from sandbox.records import Kept, Records
from sandbox.seed_factories import Factory
from sandbox.seed_records import customer, customer_id_of, moved, stock_of

_UPDATED = "updated"


@dataclass(frozen=True)
class Happened:
    """A changed record, and the webhook events of the change."""

    resource: str
    kept: Kept
    events: tuple[Event, ...] = ()


class Life:
    """One factory; `at` is the timestamp of a change, which may be earlier than its commit."""

    def __init__(self, factory: Factory, now: datetime) -> None:
        self.factory = factory
        self.stock = stock_of(factory, now)
        self._orders = count(len(self.list("sales_orders")))
        self._customers = count(len(self.list("customers")))
        self._injected = count(30_000_000 + factory.first_id)
        self._moves = count()
        self._sound: dict[tuple[str, int], Record] = {}

    def list(self, resource: str) -> Records:
        """Return one list.

        :raise LookupError: there is no such list.
        """
        if resource not in self.stock.lists:
            raise LookupError(f"There is no list called {resource}.")

        return self.stock.lists[resource]

    def new_order(self, at: datetime, fields: Record, bought: Sequence[Record] = ()) -> Happened:
        """Add an order; `bought` has the given fields of each row."""
        record = self._order(next(self._orders), at)
        if bought:
            record |= with_bought(record, bought, self.list("variants"))
        record |= fields
        kept = self.list("sales_orders").add(record, at=iso(at))
        created = order_event("created", record["id"], record["status"])
        return Happened("sales_orders", kept, (created,))

    def change_order(self, order_id: object, at: datetime, fields: Record) -> Happened:
        """Change the given fields of an order, or add one piece to its first row."""
        orders = self.list("sales_orders")
        changed = fields or one_more(orders.find(order_id).record, iso(at))
        kept = orders.change(order_id, iso(at), changed)
        return Happened("sales_orders", kept, (_of(kept, _UPDATED),))

    def ship_order(self, order_id: object, at: datetime) -> Happened:
        """Pack an order, or deliver one that is packed; both send two events."""
        orders = self.list("sales_orders")
        is_packed = orders.find(order_id).record.get("status") == "PACKED"
        status, step = ("DELIVERED", "delivered") if is_packed else ("PACKED", "packed")
        kept = orders.change(order_id, iso(at), {"status": status, "picked_date": iso(at)})
        return Happened("sales_orders", kept, (_of(kept, step), _of(kept, _UPDATED)))

    def delete_order(self, order_id: object, at: datetime) -> Happened:
        """Delete an order."""
        kept = self.list("sales_orders").delete(order_id, iso(at))
        return Happened("sales_orders", kept, (_of(kept, "deleted"),))

    def move_stock(self, variant_id: object, at: datetime, fields: Record) -> Happened:
        """Change the given fields of a variant's stock, or take two pieces, or add a new batch.

        Katana sends an out-of-stock event when only the safety stock is left.
        """
        inventory = self.list("inventory")
        row = inventory.find(variant_id).record
        kept = inventory.change(variant_id, iso(at), fields or moved(row))
        events = [stock_event("product_updated", variant_id)]
        if not fields and Decimal(kept.record["quantity_missing_or_excess"]) <= 0:
            events.append(stock_event("product_out_of_stock", variant_id))
        return Happened("inventory", kept, tuple(events))

    def new_customer(self, at: datetime, fields: Record) -> Happened:
        """Add a customer; Katana has no event for it."""
        record = customer(self.factory, next(self._customers), at) | fields
        return Happened("customers", self.list("customers").add(record, at=iso(at)))

    def change(self, resource: str, record_id: object, at: datetime, fields: Record) -> Happened:
        """Change the given fields of any record, or only its `updated_at`."""
        kept = self.list(resource).change(record_id, iso(at), fields)
        return Happened(resource, kept, _told_of(resource, record_id, "updated"))

    def delete(self, resource: str, record_id: object, at: datetime) -> Happened:
        """Delete any record."""
        kept = self.list(resource).delete(record_id, iso(at))
        return Happened(resource, kept, _told_of(resource, record_id, "deleted"))

    def inject(self, resource: str, at: datetime, spoil: Callable[[Record], object]) -> Happened:
        """Add an invalid copy of the newest record; `mend` makes it valid."""
        records = self.list(resource)
        sound = self._newest_sound(resource) | {"id": next(self._injected)}
        if "updated_at" in sound:
            sound |= {"created_at": iso(at), "updated_at": iso(at)}
        kept = records.add(sound, at=iso(at) if "updated_at" in sound else None)
        self._sound[resource, kept.serial] = sound
        spoiled = spoil(sound)
        return Happened(resource, records.put(kept.serial, iso(at), lambda: spoiled))

    def mend(self, resource: str, serial: int, at: datetime) -> Happened:
        """Replace an injected record by its valid version.

        :raise LookupError: nothing was injected there.
        """
        if (resource, serial) not in self._sound:
            raise LookupError(f"Nothing was injected in place {serial} of {resource}.")

        sound = self._sound[resource, serial]
        if "updated_at" in sound:
            sound = sound | {"updated_at": iso(at)}
        return Happened(resource, self.list(resource).put(serial, iso(at), sound))

    def grow(self, resource: str, many: int, since: datetime, now: datetime) -> None:
        """Add many orders or customers, with timestamps spread evenly between two times.

        :raise LookupError: it is another list.
        """
        for place in range(many):
            at = since + (now - since) * (place + 1) / many
            if resource == "sales_orders":
                n = next(self._orders)
                build, record_id = partial(self._order, n, at), order_id_of(self.factory, n)
            elif resource == "customers":
                n = next(self._customers)
                build = partial(customer, self.factory, n, at)
                record_id = customer_id_of(self.factory, n)
            else:
                raise LookupError(f"{resource} does not grow.")
            self.list(resource).add_built(record_id, iso(at), build, f"SO-{n + 1}")

    def any_order(self, *, unshipped: bool = False) -> object:
        """Return the id of the newest order, or of the newest that is not delivered yet."""
        for kept in self.list("sales_orders").ordered():
            is_done = unshipped and kept.record.get("status") == "DELIVERED"
            if kept.deleted_at is None and isinstance(kept.id, int) and not is_done:
                return kept.id
        raise LookupError("There is no such order left.")

    def any_of(self, resource: str) -> object:
        """Return the id of the newest record of a list."""
        for kept in self.list(resource).ordered():
            if kept.deleted_at is None and isinstance(kept.id, int):
                return kept.id
        raise LookupError(f"There is nothing left in {resource}.")

    def any_variant(self) -> object:
        """Return the id of the next variant, in turn."""
        inventory = self.list("inventory").ordered()
        return inventory[next(self._moves) % len(inventory)].id

    def _newest_sound(self, resource: str) -> Record:
        for kept in self.list(resource).ordered():
            if (resource, kept.serial) not in self._sound and kept.deleted_at is None:
                sound: Record = kept.record
                return sound
        raise LookupError(f"There is nothing in {resource} to copy.")

    def _order(self, n: int, at: datetime) -> Record:
        customers = [customer_id_of(self.factory, m) for m in range(len(self.factory.customers))]
        variants = [kept.record for kept in self.list("variants").ordered()]
        return sales_order(self.factory, n, customers, variants, at)


def _of(kept: Kept, action: str) -> Event:
    return order_event(action, kept.id, kept.record.get("status"))


def _told_of(resource: str, record_id: object, action: str) -> tuple[Event, ...]:
    """Return the event of a product or a variant; other lists have no events."""
    if resource not in ("products", "variants"):
        return ()

    path = f"/v1/{resource}/{record_id}"
    return (Event(f"{resource.removesuffix('s')}.{action}", record_id, path),)
