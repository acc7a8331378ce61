"""Send something to Katana once: an example of writing back, with sales orders.

Katana knows no idempotency key, so a request whose answer was lost must not simply be sent again.
The row says from when on the order may have reached Katana. After that moment its number is looked
up at Katana before anything is sent, and not before a request on its way must have arrived.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Engine, select, update
from sqlalchemy import Connection as Database
from sqlalchemy.dialects import postgresql, sqlite

from app.connections.backoff import exponential, jitter
from app.connections.models import Connection, Status
from app.database.clock import Clock
from app.database.engine import single_statements
from app.errors import (
    ApiBusy,
    ApiForbidden,
    ApiRefused,
    ApiUnavailable,
    ConnectError,
    NotConnected,
    ReconnectNeeded,
    TryAgainLater,
)
from app.katana.client import KatanaApi, created_id
from app.katana.fields import Unreadable, number
from app.sync import due
from app.sync.due import NO_LEASE, LeaseLost
from app.sync.outbox import NewOrder, Outbox, OutboxState

LEASE_SECONDS = 60.0
SEND_SECONDS = 15.0  # after a claim, a worker sends within this time or not at all
#: After a request was sent, until it must have come to its end at Katana, and can be looked up.
SETTLE_SECONDS = 60.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 3600.0  # back-off doubles with each try

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sending:
    """An order that this worker may send now."""

    id: UUID
    owner: str
    connection_id: UUID
    order_no: str
    body: Mapping[str, Any]
    sent_at: datetime | None
    tries: int
    at: datetime


@dataclass(frozen=True)
class Outgoing:
    """Sends what is in the outbox."""

    engine: Engine
    clock: Clock
    #: Katana's API for one connection, which asks nothing more after so many seconds.
    api: Callable[[UUID, float], KatanaApi]

    def add(self, database: Database, connection_id: UUID, order: NewOrder) -> None:
        """Add an order in the caller's transaction, to be committed with the caller's own work.

        An order with a number that was added before is not added again.
        """
        insert = (sqlite if database.dialect.name == "sqlite" else postgresql).insert
        now = self.clock.database_time()
        new = insert(Outbox).values(
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
        """What is to be sent now, longest due first."""
        found = (
            select(Outbox.id)
            .join(Connection, Connection.id == Outbox.connection_id)
            .where(Connection.status == Status.ACTIVE, self._is_due())
            .order_by(Outbox.due_at)
            .limit(limit)
        )
        with single_statements(self.engine).connect() as database:
            return database.scalars(found).all()

    def send(self, outbox_id: UUID) -> None:
        """Send one order, if it is due; look first whether Katana has it, where that can be."""
        held = self._claim(outbox_id)
        if held is None:
            return

        try:
            self._set(held, **self._sent(self._create_or_find(held)))
        except (LeaseLost, NotConnected):
            logger.info("order %s of the outbox is not ours to send any more", outbox_id)
        except ReconnectNeeded:
            self._put_off(held, FIRST_PAUSE_SECONDS, held.tries)
        except (ApiBusy, TryAgainLater) as error:
            self._put_off(held, error.retry_after, held.tries)
        except (ApiForbidden, ApiRefused) as error:
            logger.error("order %s of the outbox is refused: %s", outbox_id, error)
            self._set(held, state=OutboxState.FAILED, detail=str(error)[:200], **NO_LEASE)
        except ConnectError as error:
            logger.warning("order %s of the outbox is not sent yet: %s", outbox_id, error)
            pause = exponential(held.tries, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
            self._put_off(held, pause, held.tries + 1)

    def _create_or_find(self, held: Sending) -> int | None:
        api = self.api(held.connection_id, SEND_SECONDS)
        if held.sent_at is not None:
            if held.at < held.sent_at + timedelta(seconds=SETTLE_SECONDS):
                raise TryAgainLater(SETTLE_SECONDS)
            found = _find(api, held.order_no)
            if found is not None:
                return found

        # Committed before anything is sent: whoever comes after a crash looks before sending.
        self._set(held, sent_at=self.clock.database_time())
        return created_id(api.request("POST", "/sales_orders", body=held.body))

    def _claim(self, outbox_id: UUID) -> Sending | None:
        owner, now = uuid4().hex, self.clock.database_time()
        claiming = (
            update(Outbox)
            .where(Outbox.id == outbox_id, self._is_due())
            .values(lease_owner=owner, lease_until=self.clock.database_time(LEASE_SECONDS))
            .returning(
                *(Outbox.connection_id, Outbox.natural_key, Outbox.body, Outbox.sent_at),
                *(Outbox.tries, now),
            )
        )
        with self.engine.begin() as database:
            row = database.execute(claiming).first()
        return Sending(outbox_id, owner, *row) if row else None

    def _is_due(self) -> ColumnElement[bool]:
        pending = Outbox.state == OutboxState.PENDING
        due_now = due.is_over(Outbox.due_at, self.clock, 2 * LONGEST_PAUSE_SECONDS)
        return pending & due_now & due.is_over(Outbox.lease_until, self.clock, 2 * LEASE_SECONDS)

    def _sent(self, katana_id: int | None) -> dict[str, object]:
        return {"state": OutboxState.SENT, "katana_id": katana_id, "detail": None, **NO_LEASE}

    def _put_off(self, held: Sending, seconds: float, tries: int) -> None:
        due_at = self.clock.database_time(seconds * jitter(1, 1.2))
        self._set(held, due_at=due_at, tries=tries, **NO_LEASE)

    def _set(self, held: Sending, **values: object) -> None:
        """Raises LeaseLost."""
        this_one = Outbox.id == held.id, Outbox.lease_owner == held.owner
        with self.engine.begin() as database:
            if not database.execute(update(Outbox).where(*this_one).values(values)).rowcount:
                raise LeaseLost


def _find(api: KatanaApi, order_no: str) -> int | None:
    """The id of Katana's order with this number, also of one that was deleted since."""
    for record in api.records("/sales_orders", order_no=order_no, include_deleted="true"):
        if record.get("order_no") == order_no:
            try:
                return number(record, "id")
            except Unreadable:
                raise ApiUnavailable("an order of Katana's has no usable id") from None
    return None
