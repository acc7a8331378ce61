"""What sync remembers beside the copy: accounts, cursors, hints, what is set aside, webhooks.

Every row belongs to a connection and is deleted with it. The copy itself is in `copy.py`.
"""

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from app.connections.vault import AssociatedData
from app.database.columns import Timestamp
from app.database.db import Model
from app.database.leased_rows import LeasedRow


def connection_key(**options: Any) -> Mapped[UUID]:
    """The column that names the connection; disconnecting deletes the row."""
    return mapped_column(Uuid, ForeignKey("connections.id", ondelete="CASCADE"), **options)


def _where(rows: str) -> dict[str, Any]:
    return {"sqlite_where": text(rows), "postgresql_where": text(rows)}


class SyncAccount(Model):
    """Which Katana account the copy of a connection is of, and what is left of its rate limit.

    Not columns of `connections`: a page's transaction must not hold up a refresh, and the core
    knows nothing of sync.
    """

    __tablename__ = "sync_accounts"

    connection_id: Mapped[UUID] = connection_key(primary_key=True)
    #: `connections.connected_by` of the connect that the copy belongs to. Where the two differ,
    #: the user has reconnected, and nothing of the copy is shown.
    connected_by: Mapped[str | None] = mapped_column(String(64))
    #: What that account was called.
    factory_name: Mapped[str | None] = mapped_column(String(200))

    #: Requests per window, as Katana last said.
    budget_limit: Mapped[int] = mapped_column(default=60)
    budget_left: Mapped[int] = mapped_column(default=60)
    #: When the window ends and `budget_left` is `budget_limit` again.
    budget_until: Mapped[datetime | None] = mapped_column(Timestamp)
    #: No request before this moment: Katana answered 429.
    paused_until: Mapped[datetime | None] = mapped_column(Timestamp)


class SyncCursor(LeasedRow, Model):
    """How far one resource of a connection has been read, and who is reading it."""

    __tablename__ = "sync_cursors"
    __table_args__ = (
        # Of the version before, which still uses it in a rolling upgrade.
        Index("ix_sync_cursors_due", "due_at"),
        Index("ix_sync_cursors_ready", "due_at", **_where("next_attempt_at IS NULL")),
        Index("ix_sync_cursors_paused", "next_attempt_at", **_where("next_attempt_at IS NOT NULL")),
    )

    connection_id: Mapped[UUID] = connection_key(primary_key=True)
    resource: Mapped[str] = mapped_column(String(40), primary_key=True)

    due_at: Mapped[datetime] = mapped_column(Timestamp)
    #: When a hint last came: a pass that began before it is followed by another.
    hinted_at: Mapped[datetime | None] = mapped_column(Timestamp)
    #: Grows with each claim; a page is stored only by the latest holder.
    fence: Mapped[int] = mapped_column(default=0)

    failures: Mapped[int] = mapped_column(default=0)
    #: Back-off: no pass before this moment, whatever is due.
    next_attempt_at: Mapped[datetime | None] = mapped_column(Timestamp)
    #: Why the last attempt failed, such as `forbidden`; none after a success.
    failure: Mapped[str | None] = mapped_column(String(40))
    failed_at: Mapped[datetime | None] = mapped_column(Timestamp)

    #: The highest `updated_at` of all complete passes; none before the first.
    position: Mapped[datetime | None] = mapped_column(Timestamp)
    #: When the last complete pass began: the copy is as of this moment.
    read_at: Mapped[datetime | None] = mapped_column(Timestamp)
    #: When the whole list was last read, and when it was first read since the connect.
    whole_at: Mapped[datetime | None] = mapped_column(Timestamp)
    first_pass_at: Mapped[datetime | None] = mapped_column(Timestamp)

    #: The number of the latest whole pass; each row bears that of the last pass that met it.
    mark: Mapped[int] = mapped_column(default=0)
    #: Rows with a lower mark belong to the account before this one, and are not shown.
    shown_from: Mapped[int] = mapped_column(default=1)
    #: Rows below this mark have been removed.
    swept: Mapped[int] = mapped_column(default=0)

    # The pass under way; `page` is none where there is none.
    #: The next page to read; 0 is the first look, which finds out how many there are.
    page: Mapped[int | None]
    pages: Mapped[int] = mapped_column(default=0)
    is_whole: Mapped[bool] = mapped_column(default=False)
    since: Mapped[datetime | None] = mapped_column(Timestamp)
    until: Mapped[datetime | None] = mapped_column(Timestamp)
    highest: Mapped[datetime | None] = mapped_column(Timestamp)
    started_at: Mapped[datetime | None] = mapped_column(Timestamp)
    seen: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)


class SyncHint(Model):
    """A record that Katana says has changed, to be read before the rest of its list."""

    __tablename__ = "sync_hints"

    connection_id: Mapped[UUID] = connection_key(primary_key=True)
    resource: Mapped[str] = mapped_column(String(40), primary_key=True)
    record_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hinted_at: Mapped[datetime] = mapped_column(Timestamp)


class SetAside(Model):
    """A record that could not be read, and why. It is tried again and stops nothing."""

    __tablename__ = "set_aside"

    connection_id: Mapped[UUID] = connection_key(primary_key=True)
    resource: Mapped[str] = mapped_column(String(40), primary_key=True)
    #: Katana's id as text; where the record has no usable one, a hash of the record.
    record_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    reason: Mapped[str] = mapped_column(String(200))
    tries: Mapped[int] = mapped_column(default=1)
    first_at: Mapped[datetime] = mapped_column(Timestamp)
    retry_at: Mapped[datetime] = mapped_column(Timestamp)
    mark: Mapped[int]


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


class Webhook(LeasedRow, Model):
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
    failures: Mapped[int] = mapped_column(default=0)


def hash_of(key: str) -> str:
    """How a key is remembered: from the table no address can be made."""
    return hashlib.sha256(key.encode()).hexdigest()


def token_place(connection_id: UUID) -> AssociatedData:
    """The associated data of a signing token."""
    return AssociatedData("webhooks", "sealed_token", str(connection_id), "")
