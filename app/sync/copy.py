"""The tables of the copy: Katana's records, by connection and Katana's id.

Read them through `shown()`: it leaves out deleted records and rows of an earlier Katana account.
`status()` says how up to date they are.
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
    """The base of the copy's tables. `mark` is the number of the last pass that read the row."""

    __abstract__ = True

    #: The name of the resource, as in its cursor.
    resource: ClassVar[str]

    connection_id: Mapped[UUID] = connection_key(primary_key=True, sort_order=-2)
    mark: Mapped[int] = mapped_column(sort_order=10)


class Record(Copied):
    """A record with an id and `updated_at`."""

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

    Its foreign key is to the connection, not to the order, so that disconnecting deletes all rows
    by one statement.
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
    """A customer of the factory."""

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
    """A variant of a product; stock is counted by variant. Stored and deleted with the product."""

    __tablename__ = "variants"
    __table_args__ = (Index("ix_variants_id", "connection_id", "id"),)

    connection_id: Mapped[UUID] = connection_key(primary_key=True)
    product_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    sku: Mapped[str] = mapped_column(String(200))


class StockLevel(Copied):
    """The stock of a variant at one location. Katana gives it no id and no `updated_at`."""

    __tablename__ = "stock_levels"
    resource = "inventory"

    variant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    location_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    in_stock: Mapped[Decimal] = mapped_column(Amount)
    committed: Mapped[Decimal] = mapped_column(Amount)
    expected: Mapped[Decimal] = mapped_column(Amount)
    #: The minimum that should be in stock.
    safety_level: Mapped[Decimal] = mapped_column(Amount)


def shown(model: type[Copied], connection_id: UUID) -> Select[Any]:
    """Select the rows of `model` that are not deleted and are of the current Katana account.

    The query compares `connected_by` of the copy with that of the connection. So the commit of a
    reconnect hides the rows of the earlier account at once.
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
    """How up to date one resource is: for pages, `flask doctor` and the metrics."""

    cursor: SyncCursor
    #: The database's time when this was read.
    at: datetime
    #: No request before this time: Katana has responded with 429.
    paused_until: datetime | None
    #: How many records cannot be read.
    set_aside: int


def status(engine: Engine, clock: Clock, connection_id: UUID) -> Mapping[str, Status]:
    """The status by resource; empty if the current Katana account has not been read yet."""
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
