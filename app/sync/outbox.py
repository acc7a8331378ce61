"""The outbox: send a sales order to Katana once. An example of writing to Katana.

Katana has no idempotency keys, so a request without a response must not simply be repeated.
`sent_at` is stored before the request. If it is set, the worker waits until the earlier request
must have ended, and looks up the order number at Katana. It sends the order again only if Katana
does not have the number.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, BigInteger, Engine, Index, String, UniqueConstraint, Uuid
from sqlalchemy import Connection as Database
from sqlalchemy.orm import Mapped, mapped_column

from app.connections.backoff import jitter
from app.database.clock import Clock
from app.database.columns import Timestamp
from app.database.db import Model
from app.database.engine import insert_into
from app.database.leased_rows import LeasedRow, LeasedRows, LeaseLost, Range, ranges
from app.errors import (
    ApiForbidden,
    ApiRefused,
    ApiUnavailable,
    ConnectError,
    NotConnected,
    TryAgainLater,
)
from app.katana.client import KatanaApi, created_id
from app.katana.fields import Unreadable, number
from app.sync.due import LONGEST_PAUSE_SECONDS, is_active, pause_after
from app.sync.models import connection_key

LEASE_SECONDS = 60.0
SEND_SECONDS = 15.0  # after a claim, a worker sends within this time or not at all
#: From `sent_at` until the order can be looked up: the request has then ended at Katana.
SETTLE_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 5.0  # back-off doubles with each try

logger = logging.getLogger(__name__)


class OutboxState(StrEnum):
    """The state of an order in the outbox."""

    PENDING = "pending"
    SENT = "sent"
    #: Katana has refused it permanently; `detail` says why.
    FAILED = "failed"


class Outbox(LeasedRow, Model):
    """An order to send once. `natural_key`, its number, is looked up before it is sent again."""

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
    #: Stored before the request: from this time on, Katana may have the order.
    sent_at: Mapped[datetime | None] = mapped_column(Timestamp)
    katana_id: Mapped[int | None] = mapped_column(BigInteger)
    detail: Mapped[str | None] = mapped_column(String(200))
    tries: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(Timestamp)
    created_at: Mapped[datetime] = mapped_column(Timestamp)


@dataclass(frozen=True)
class NewOrder:
    """A sales order that Katana does not have yet. Its number must be used for no other order."""

    order_no: str
    customer_id: int
    #: Pairs of a variant's id and a quantity.
    rows: Sequence[tuple[int, float]]

    def as_json(self) -> Mapping[str, Any]:
        """The body of developer.katanamrp.com/reference/create-a-sales-order."""
        rows = [{"variant_id": variant, "quantity": many} for variant, many in self.rows]
        about = {"order_no": self.order_no, "customer_id": self.customer_id}
        return about | {"sales_order_rows": rows}


@dataclass(frozen=True)
class Outgoing:
    """Sends what is in the outbox."""

    engine: Engine
    clock: Clock
    #: Makes a KatanaApi for one connection, which sends no request after so many seconds.
    api: Callable[[UUID, float], KatanaApi]

    @property
    def rows(self) -> LeasedRows[Outbox]:
        """The rows of the table, each leased to one worker at a time."""
        return LeasedRows(self.engine, self.clock, Outbox, LEASE_SECONDS, _due)

    def add(self, database: Database, connection_id: UUID, order: NewOrder) -> None:
        """Add an order in the caller's transaction, to be committed with the caller's own work.

        An order with a number that was added before is not added again.
        """
        now = self.clock.database_time()
        new = insert_into(database, Outbox).values(
            id=uuid4(),
            connection_id=connection_id,
            kind="sales_order",
            natural_key=order.order_no,
            body=order.as_json(),
            state=OutboxState.PENDING,
            tries=0,
            due_at=now,
            created_at=now,
        )
        database.execute(new.on_conflict_do_nothing())

    def due(self, limit: int) -> Sequence[UUID]:
        """The orders to send now, the longest due first."""
        return self.rows.due(limit)

    def send(self, outbox_id: UUID) -> None:
        """Send one order, if it is due. If it may have been sent before, look it up first."""
        held = self.rows.claim(Outbox.id == outbox_id)
        if held is None:
            return

        try:
            sent = {"katana_id": self._create_or_find(held), "detail": None}
            self.rows.finish(held, state=OutboxState.SENT, **sent)
        except (LeaseLost, NotConnected):
            logger.info("order %s of the outbox is not ours to send any more", outbox_id)
        except (ApiForbidden, ApiRefused) as error:
            logger.error("order %s of the outbox is refused: %s", outbox_id, error)
            self.rows.finish(held, state=OutboxState.FAILED, detail=str(error)[:200])
        except ConnectError as error:
            seconds, tries = pause_after(error, held.tries, FIRST_PAUSE_SECONDS)
            if tries > held.tries:
                logger.warning("order %s of the outbox is not sent yet: %s", outbox_id, error)
            due_at = self.clock.database_time(seconds * jitter(1, 1.2))
            self.rows.finish(held, due_at=due_at, tries=tries)

    def _create_or_find(self, held: Outbox) -> int | None:
        api = self.api(held.connection_id, SEND_SECONDS)
        if held.sent_at is not None:
            if self.rows.claimed_at(held) < held.sent_at + timedelta(seconds=SETTLE_SECONDS):
                raise TryAgainLater(SETTLE_SECONDS)
            found = _find(api, held.natural_key)
            if found is not None:
                return found

        # Committed before the request, so that after a crash the order is looked up first.
        if not self.rows.set(held, sent_at=self.clock.database_time()):
            raise LeaseLost

        return created_id(api.request("POST", "/sales_orders", body=held.body))


def _due(clock: Clock) -> Sequence[Range]:
    these = Outbox.state == OutboxState.PENDING, is_active(Outbox.connection_id)
    return ranges(Outbox.due_at, clock, 2 * LONGEST_PAUSE_SECONDS, *these)


def _find(api: KatanaApi, order_no: str) -> int | None:
    """Katana's id of the order with this number, even if it was deleted; None if not found."""
    for record in api.records("/sales_orders", order_no=order_no, include_deleted="true"):
        if record.get("order_no") == order_no:
            try:
                return number(record, "id")
            except Unreadable:
                raise ApiUnavailable("an order of Katana's has no usable id") from None
    return None
