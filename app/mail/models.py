"""The table of mails: one row for each end of a connection."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.database.columns import Timestamp
from app.database.db import Model
from app.database.leased_rows import LeasedRow


class MailState(StrEnum):
    """The state of a mail."""

    PENDING = "pending"
    #: The mail server has accepted it.
    SENT = "sent"
    #: The user has reconnected or disconnected, so it is not sent, or not again.
    CANCELLED = "cancelled"
    #: The mail server has refused it permanently, or has not accepted it for days.
    FAILED = "failed"
    #: The text was sent twice without a response: the mail server may have accepted it.
    UNKNOWN = "unknown"


class Mail(LeasedRow, Model):
    """A mail that says that a connection has ended. The address is read when it is sent."""

    __tablename__ = "mails"
    __table_args__ = (
        UniqueConstraint("connection_id", "generation"),
        Index("ix_mails_due", "state", "due_at"),
    )

    #: Also the Message-ID, so that mailboxes recognise a mail that is sent again.
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    connection_id: Mapped[UUID] = mapped_column(
        Uuid, ForeignKey("connections.id", ondelete="CASCADE")
    )
    #: The generation of the connection when it ended. A reconnect increases that of the connection.
    generation: Mapped[int]
    #: A MailState; `detail` has the reason.
    state: Mapped[str] = mapped_column(String(20))
    detail: Mapped[str | None] = mapped_column(String(100))
    created_at: Mapped[datetime] = mapped_column(Timestamp)
    #: Counted before the text is sent. A temporary refusal does not count.
    texts_sent: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[datetime | None] = mapped_column(Timestamp)
    tries: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(Timestamp)
