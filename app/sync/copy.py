"""The copy: our rows of Katana's records, by connection and Katana's id.

Read it through `shown()`: rows of an earlier Katana account, and deleted ones, are left out there.
`status()` says how fresh it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, Engine, Index, Select, String, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.connections.models import Connection
from app.database.clock import Clock
from app.database.columns import Amount, Timestamp
from app.database.db import Model
from app.database.engine import single_reads
from app.sync.models import SetAside, SyncAccount, SyncCursor, connection_key


class Copied(Model):
    """What every table of the copy has: its resource, its connection, the pass that met the row."""

    __abstract__ = True

    #: The resource whose cursor reads it.
    resource: ClassVar[str]

    connection_id: Mapped[UUID] = connection_key(primary_key=True, sort_order=-2)
    mark: Mapped[int] = mapped_column(sort_order=10)


class Record(Copied):
    """A record that Katana dates."""

    __abstract__ = True

    id: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, autoincrement=False, sort_order=-1
    )
    updated_at: Mapped[datetime] = mapped_column(Timestamp, sort_order=8)
    deleted_at: Mapped[datetime | None] = mapped_column(Timestamp, sort_order=9)


class Order(Record):
    """A sales order."""

    __tablename__ = "orders"
    __table_args__ = (Index("ix_orders_newest", "connection_id", "ordered_at", "id"),)
    resource = "sales_orders"

    number: Mapped[str] = mapped_column(String(200))
    customer_id: Mapped[int | None] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(40))
    total: Mapped[Decimal | None] = mapped_column(Amount)
    currency: Mapped[str] = mapped_column(String(10))
    ordered_at: Mapped[datetime | None] = mapped_column(Timestamp)
    delivery_at: Mapped[datetime | None] = mapped_column(Timestamp)


class OrderRow(Model):
    """One row of a sales order; `storing.py` stores and deletes it with the order.

    It refers to the connection alone: disconnecting deletes all of them by one statement, and not
    order by order.
    """

    __tablename__ = "order_rows"

    connection_id: Mapped[UUID] = connection_key(primary_key=True)
    order_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    variant_id: Mapped[int | None] = mapped_column(BigInteger)
    quantity: Mapped[Decimal | None] = mapped_column(Amount)
    price_per_unit: Mapped[Decimal | None] = mapped_column(Amount)
    total: Mapped[Decimal | None] = mapped_column(Amount)


class Customer(Record):
    """Somebody who places orders."""

    __tablename__ = "customers"
    resource = "customers"

    name: Mapped[str] = mapped_column(String(200))
    email: Mapped[str] = mapped_column(String(254))


class Product(Record):
    """Something the factory makes or sells."""

    __tablename__ = "products"
    resource = "products"

    name: Mapped[str] = mapped_column(String(200))
    unit: Mapped[str] = mapped_column(String(40))


class Variant(Model):
    """One form of a product: what stock is counted in. Stored and deleted with the product."""

    __tablename__ = "variants"
    __table_args__ = (Index("ix_variants_id", "connection_id", "id"),)

    connection_id: Mapped[UUID] = connection_key(primary_key=True)
    product_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    sku: Mapped[str] = mapped_column(String(200))


class StockLevel(Copied):
    """How much of a variant lies at one location. Katana gives it no id and no date."""

    __tablename__ = "stock_levels"
    resource = "inventory"

    variant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    location_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    in_stock: Mapped[Decimal] = mapped_column(Amount)
    committed: Mapped[Decimal] = mapped_column(Amount)
    expected: Mapped[Decimal] = mapped_column(Amount)
    #: What should lie there at least.
    safety_level: Mapped[Decimal] = mapped_column(Amount)


def shown(model: type[Copied], connection_id: UUID) -> Select[Any]:
    """The rows of `model` that may be shown: of the account that is connected now, not deleted.

    It compares the connect that the copy belongs to with the connection's own, so a reconnect
    hides the earlier account's rows in the moment in which it is committed.
    """
    rows = (
        select(model)
        .join(SyncCursor, SyncCursor.connection_id == model.connection_id)
        .join(SyncAccount, SyncAccount.connection_id == model.connection_id)
        .join(Connection, Connection.id == model.connection_id)
        .where(
            model.connection_id == connection_id,
            SyncCursor.resource == model.resource,
            SyncAccount.connected_by == Connection.connected_by,
            model.mark >= SyncCursor.shown_from,
        )
    )
    return rows.where(model.deleted_at.is_(None)) if issubclass(model, Record) else rows


@dataclass(frozen=True)
class Status:
    """How fresh one resource of a connection is: for pages, `flask doctor` and the metrics."""

    cursor: SyncCursor
    #: The database's time when this was read.
    at: datetime
    #: No request before this moment: Katana has asked to wait.
    paused_until: datetime | None
    #: How many records cannot be read.
    set_aside: int


def status(engine: Engine, clock: Clock, connection_id: UUID) -> Mapping[str, Status]:
    """By resource; empty where nothing of the account that is connected now was read yet."""
    cursor, account = SyncCursor, SyncAccount
    aside = select(func.count()).where(
        SetAside.connection_id == cursor.connection_id, SetAside.resource == cursor.resource
    )
    found = (
        select(cursor, clock.database_time(), account.paused_until, aside.scalar_subquery())
        .join(account, account.connection_id == cursor.connection_id)
        .join(Connection, Connection.id == cursor.connection_id)
        .where(
            cursor.connection_id == connection_id, account.connected_by == Connection.connected_by
        )
    )
    with Session(single_reads(engine)) as database:
        return {row[0].resource: Status(*row) for row in database.execute(found)}
