"""The outbox: what is to be sent to Katana once. `sending.py` sends it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, Index, String, UniqueConstraint, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.database.columns import Timestamp
from app.database.db import Model
from app.sync.models import connection_key


class OutboxState(StrEnum):
    """What became of it."""

    PENDING = "pending"
    SENT = "sent"
    #: Katana refuses it for good; `detail` says how.
    FAILED = "failed"


class Outbox(Model):
    """Something to be sent once. `natural_key` is looked up at Katana before any repeat."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_due", "state", "due_at"),
        UniqueConstraint("connection_id", "kind", "natural_key"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    connection_id: Mapped[UUID] = connection_key()
    kind: Mapped[str] = mapped_column(String(40))
    natural_key: Mapped[str] = mapped_column(String(200))
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    #: An OutboxState.
    state: Mapped[str] = mapped_column(String(20))
    #: It may have reached Katana from here on.
    sent_at: Mapped[datetime | None] = mapped_column(Timestamp)
    katana_id: Mapped[int | None] = mapped_column(BigInteger)
    detail: Mapped[str | None] = mapped_column(String(200))
    tries: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(Timestamp)
    lease_owner: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[datetime | None] = mapped_column(Timestamp)
    created_at: Mapped[datetime] = mapped_column(Timestamp)


@dataclass(frozen=True)
class NewOrder:
    """A sales order that Katana does not have yet. Its number must be used for no other."""

    order_no: str
    customer_id: int
    #: Variant's id and quantity.
    rows: Sequence[tuple[int, float]]

    def as_json(self) -> Mapping[str, Any]:
        """The body of developer.katanamrp.com/reference/create-a-sales-order."""
        rows = [{"variant_id": variant, "quantity": many} for variant, many in self.rows]
        return {
            "order_no": self.order_no,
            "customer_id": self.customer_id,
            "sales_order_rows": rows,
        }
