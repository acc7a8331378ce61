"""The webhook of a connection: what is known of it."""

import hashlib
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from app.connections.vault import AssociatedData
from app.database.columns import Timestamp
from app.database.db import Model
from app.sync.models import connection_key


class WebhookState(StrEnum):
    """Whether Katana sends deliveries."""

    ACTIVE = "active"
    #: Not made yet, or to be made again.
    MISSING = "missing"
    #: It cannot be made: `detail` says why. The app goes on by polling.
    UNAVAILABLE = "unavailable"


class Detail(StrEnum):
    """Why there is no webhook."""

    #: The user's role may not make webhooks, or the plan has none.
    FORBIDDEN = "forbidden"
    #: Katana posts to https only, and this app is not reached by it.
    NOT_HTTPS = "not_https"
    #: Katana refuses it for another reason, which is in the log.
    REFUSED = "refused"


class Webhook(Model):
    """The webhook of a connection at Katana."""

    __tablename__ = "webhooks"

    connection_id: Mapped[UUID] = connection_key(primary_key=True)
    #: Katana's id.
    katana_id: Mapped[int | None] = mapped_column(BigInteger)
    #: SHA-256 of the random key in its address.
    key_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    #: What signs its deliveries.
    sealed_token: Mapped[bytes | None] = mapped_column(LargeBinary)
    #: A WebhookState, and why it is so.
    state: Mapped[str] = mapped_column(String(20), default=WebhookState.MISSING)
    detail: Mapped[str | None] = mapped_column(String(100))
    checked_at: Mapped[datetime | None] = mapped_column(Timestamp)
    due_at: Mapped[datetime] = mapped_column(Timestamp, index=True)
    lease_owner: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[datetime | None] = mapped_column(Timestamp)
    failures: Mapped[int] = mapped_column(default=0)


def hash_of(key: str) -> str:
    """How a key is remembered: from the table no address can be made."""
    return hashlib.sha256(key.encode()).hexdigest()


def token_place(connection_id: UUID) -> AssociatedData:
    """The associated data of a signing token."""
    return AssociatedData("webhooks", "sealed_token", str(connection_id), "")
