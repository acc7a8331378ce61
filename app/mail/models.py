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
    """What became of it."""

    PENDING = "pending"
    #: The mail server has taken it.
    SENT = "sent"
    #: The user has reconnected: it is not sent, or not again.
    CANCELLED = "cancelled"
    #: The mail server refuses it for good, or has not taken it for days.
    FAILED = "failed"
    #: No answer came to the text, twice: the mail server may have taken it.
    UNKNOWN = "unknown"


class Mail(LeasedRow, Model):
    """That a connection has ended. The address is looked up when it is sent."""

    __tablename__ = "mails"
    __table_args__ = (
        UniqueConstraint("connection_id", "generation"),
        Index("ix_mails_due", "state", "due_at"),
    )

    #: Also the Message-ID: a repeated mail is the same mail.
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    connection_id: Mapped[UUID] = mapped_column(
        Uuid, ForeignKey("connections.id", ondelete="CASCADE")
    )
    #: Of the connection when it ended; a reconnect changes it.
    generation: Mapped[int]
    #: A MailState, and why it is so.
    state: Mapped[str] = mapped_column(String(20))
    detail: Mapped[str | None] = mapped_column(String(100))
    created_at: Mapped[datetime] = mapped_column(Timestamp)
    #: Counted before the text is sent. A text that the mail server puts off does not count.
    texts_sent: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[datetime | None] = mapped_column(Timestamp)
    tries: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(Timestamp)
