"""Drives sync in this process step by step, and compares the copy with the sandbox's data."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from threading import Thread
from typing import Any
from uuid import UUID

from flask import Flask
from sqlalchemy import select, text, update

from app import sync
from app.connections.models import Connection
from app.database.clock import Clock, SystemClock
from app.database.db import Model, db
from app.sync.copy import Copied, Customer, Order, OrderRow, Product, StockLevel, Variant, shown
from app.sync.due import POLL_SECONDS
from app.sync.feed import Change
from app.sync.models import SetAside, SyncCursor
from tests.support.clocks import HeldClock
from tests.support.connected import Connected
from tests.support.sandbox import Family, Sandbox
from tests.support.until import until

MOST_CHUNKS = 500
SETTLE_SECONDS = 20


@dataclass(frozen=True)
class OnlyConnection:
    """The only connection in the database, made by a user of the served app."""

    app: Flask
    sandbox: Sandbox

    @property
    def id(self) -> UUID:
        """The id of its row; another one after a disconnect and a connect."""
        with self.app.app_context():
            return db.session.scalars(select(Connection.id)).one()

    @property
    def clock(self) -> Clock:
        """The system's clock, as in every process."""
        return SystemClock()

    def family(self) -> Family:
        """The sandbox's record of its grant."""
        return self.sandbox.ledger().families[-1]


class Syncing:
    """The sync of one connected user."""

    def __init__(self, connected: Connected | OnlyConnection, app: Flask | None = None) -> None:
        self.connected = connected
        self.app = app or connected.app
        #: The key of its factory, if the name is not enough.
        self.factory: str | None = None

    @property
    def parts(self) -> sync.Sync:
        """The sync of the app."""
        found: sync.Sync = self.app.extensions["sync"]
        return found

    def chunk(self, resource: str, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Read one chunk of a resource, and return whether it was due."""
        with self.app.app_context():
            return self.parts.reading.work(self.connected.id, resource, stopped)

    def run(self, *resources: str) -> int:
        """Read everything or these resources until nothing is due; the number of chunks."""
        for chunks in range(MOST_CHUNKS):
            due = [name for owner, name in self.parts.cursors.due(99) if owner == self.connected.id]
            if not any(map(self.chunk, resources or due[:1])):
                return chunks
        raise AssertionError("there is always more due")

    def hint(self, resource: str | None = None, *ids: int) -> None:
        """Store a hint as a webhook does, before the next read."""
        self.parts.hints.hint(self.connected.id, resource, ids)
        self.pass_time(0.001)

    def pass_time(self, seconds: float) -> None:
        """Move the clock that the test holds."""
        clock = self.connected.clock
        assert isinstance(clock, HeldClock)
        clock.move(seconds)

    def again(self, *resources: str) -> None:
        """Make everything, or these resources, due again."""
        for name in resources or list(self.parts.resources):
            self.hint(name)
        self.run(*resources)

    def cursor(self, resource: str) -> SyncCursor:
        """The stored cursor of a resource."""
        with self.app.app_context():
            row = db.session.get(SyncCursor, (self.connected.id, resource))
            assert row, f"there is no cursor for {resource}"
            db.session.expunge(row)
            return row

    def change_cursors(self, **ahead: float) -> None:
        """Set columns of every cursor to so many seconds from now."""
        clock = self.connected.clock
        values = {name: clock.database_time(seconds) for name, seconds in ahead.items()}
        with self.app.app_context():
            db.session.execute(update(SyncCursor).values(values))
            db.session.commit()

    def rows(self, model: type[Model]) -> list[Any]:
        """The rows of this connection in a table of the copy, hidden ones included."""
        owner = model.__table__.c.connection_id
        with self.app.app_context():
            rows = db.session.scalars(select(model).where(owner == self.connected.id)).all()
            db.session.expunge_all()
            return list(rows)

    def rows_of_orders(self) -> int:
        """The number of stored orders."""
        return len(self.rows(Order))

    def shown(self, model: type[Copied]) -> list[Any]:
        """The rows that a page would show."""
        with self.app.app_context():
            rows = db.session.scalars(shown(model, self.connected.id)).all()
            db.session.expunge_all()
            return list(rows)

    def aside(self) -> dict[tuple[str, str], str]:
        """The reasons of the records that are set aside, by resource and id."""
        return {(row.resource, row.record_id): row.reason for row in self.rows(SetAside)}

    def feed(self, after: int = 0) -> list[Change]:
        """The whole feed of this connection."""
        found: list[Change] = []
        while batch := self.parts.changes.after(found[-1].position if found else after):
            found += batch
        return [change for change in found if change.connection_id == self.connected.id]

    def replayed(self) -> dict[str, set[tuple[int, int]]]:
        """The records that exist according to the feed alone, by resource."""
        there: dict[str, set[tuple[int, int]]] = {name: set() for name in self.parts.resources}
        for change in self.feed():
            key = (change.record_id, change.location_id)
            found = there[change.resource]
            if change.kind == "created":
                assert key not in found, f"created twice: {change}"
                found.add(key)
            else:
                assert key in found, f"not there: {change}"
            if change.kind == "deleted":
                found.discard(key)
        return there

    def copy(self) -> dict[str, Any]:
        """The copy as a page shows it, in the form of `truth`."""
        rows, variants = self.rows(OrderRow), self.rows(Variant)
        return {
            "sales_orders": {
                order.id: (
                    *(order.number, order.customer_id, order.status, order.total),
                    *(order.currency, order.updated_at),
                    {
                        row.id: (row.variant_id, row.quantity, row.price_per_unit, row.total)
                        for row in rows
                        if row.order_id == order.id
                    },
                )
                for order in self.shown(Order)
            },
            "customers": {
                row.id: (row.name, row.email, row.updated_at) for row in self.shown(Customer)
            },
            "products": {
                row.id: (
                    row.name,
                    row.unit,
                    row.updated_at,
                    {v.id: v.sku for v in variants if v.product_id == row.id},
                )
                for row in self.shown(Product)
            },
            "inventory": {
                (row.variant_id, row.location_id): (
                    *(row.in_stock, row.committed, row.expected, row.safety_level),
                )
                for row in self.shown(StockLevel)
            },
        }

    def truth(self) -> dict[str, Any]:
        """The data at Katana."""
        from sandbox.seed_factories import FACTORIES

        name = self.connected.family().factory
        key = next(factory.key for factory in FACTORIES if factory.display_name == name)
        said = self.connected.sandbox.truth(self.factory or key)
        living = {
            name: [row for row in said[name] if isinstance(row, dict) and not row.get("deleted_at")]
            for name in ("sales_orders", "customers", "products", "inventory")
        }
        return {
            "sales_orders": {row["id"]: _order(row) for row in living["sales_orders"]},
            "customers": {
                row["id"]: (row["name"], row["email"], _moment(row["updated_at"]))
                for row in living["customers"]
            },
            "products": {
                row["id"]: (
                    *(row["name"], row["uom"], _moment(row["updated_at"])),
                    {variant["id"]: variant["sku"] for variant in row["variants"]},
                )
                for row in living["products"]
            },
            "inventory": {
                (row["variant_id"], row["location_id"]): tuple(
                    Decimal(row[name])
                    for name in (
                        *("quantity_in_stock", "quantity_committed", "quantity_expected"),
                        "safety_stock_level",
                    )
                )
                for row in living["inventory"]
            },
        }

    def is_in_step(self) -> bool:
        """Whether the copy equals Katana's data."""
        return bool(self.copy() == self.truth())

    def assert_in_step(self) -> None:
        """The copy equals Katana's data, record for record, and so does the replayed feed."""
        copy, truth, replayed = self.copy(), self.truth(), self.replayed()
        for name, records in truth.items():
            assert copy[name] == records, _differences(name, copy[name], records)
            keys = {key if isinstance(key, tuple) else (key, 0) for key in records}
            assert replayed[name] == keys, f"the feed of {name} gives another copy"

    def settle(self) -> None:
        """Poll until the copy is in step: a list of several pages leaves out the newest changes."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while self.copy() != self.truth() and time.monotonic() < deadline:
            time.sleep(0.2)
            self.pass_time(POLL_SECONDS)
            self.run()
        self.assert_in_step()

    def lists(self, path: str) -> int:
        """The number of requests for this list."""
        asked = self.connected.sandbox.ledger().of("api")
        return sum(request.path == f"/v1{path}" for request in asked)


def wait_for_no_lock(app: Flask) -> None:
    """Let each statement that waits for a lock fail from now on; PostgreSQL only."""
    with app.app_context():
        with db.engine.begin() as database:
            name = database.scalar(text("SELECT quote_ident(current_database())"))
            database.exec_driver_sql(f"ALTER DATABASE {name} SET lock_timeout = '1s'")
        db.engine.dispose()


@contextmanager
def while_katana_answers(syncing: Syncing, resource: str) -> Iterator[None]:
    """Within the context a chunk of `resource` waits for a response that was already made.

    Responses to other requests are not delayed.
    """
    sandbox = syncing.connected.sandbox
    asked = len(sandbox.ledger().of("api"))
    sandbox.fault("api", "drip")
    thread = Thread(target=syncing.chunk, args=(resource,))
    thread.start()
    try:
        until(lambda: len(sandbox.ledger().of("api")) > asked)
        yield
    finally:
        sandbox.let_go()
        thread.join()


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    rows = {
        part["id"]: (
            part["variant_id"],
            *(_decimal(part[name]) for name in ("quantity", "price_per_unit", "total")),
        )
        for part in row["sales_order_rows"]
    }
    told = (row["order_no"], row["customer_id"], row["status"], _decimal(row["total"]))
    return (*told, row["currency"], _moment(row["updated_at"]), rows)


def _decimal(value: object) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _differences(name: str, copy: dict[Any, Any], truth: dict[Any, Any]) -> str:
    lines = [
        f"{key}: {copy.get(key)} instead of {truth.get(key)}"
        for key in sorted(copy.keys() | truth.keys())
        if copy.get(key) != truth.get(key)
    ]
    return f"{name} differs in {len(lines)}:\n" + "\n".join(lines[:10])
