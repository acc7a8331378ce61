"""The tables of sync besides the copy: accounts, cursors, hints, records set aside, webhooks.

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
    """The foreign key to the connection; disconnecting deletes the row."""
    return mapped_column(Uuid, ForeignKey("connections.id", ondelete="CASCADE"), **options)


def _where(rows: str) -> dict[str, Any]:
    return {"sqlite_where": text(rows), "postgresql_where": text(rows)}


class SyncAccount(Model):
    """The Katana account whose data is copied, and the rest of its rate limit.

    A table of its own, so that the transaction of a page does not block a refresh. Also, the core
    does not import sync.
    """

    __tablename__ = "sync_accounts"

    connection_id: Mapped[UUID] = connection_key(primary_key=True)
    #: `connections.connected_by` of the connect that the copy belongs to. If the two differ, the
    #: user has reconnected, and nothing of the copy is shown.
    connected_by: Mapped[str | None] = mapped_column(String(64))
    #: The name of that account.
    factory_name: Mapped[str | None] = mapped_column(String(200))

    #: Requests per window, as Katana last reported.
    budget_limit: Mapped[int] = mapped_column(default=60)
    budget_left: Mapped[int] = mapped_column(default=60)
    #: When the window ends and `budget_left` is `budget_limit` again.
    budget_until: Mapped[datetime | None] = mapped_column(Timestamp)
    #: No request before this time: Katana has responded with 429.
    paused_until: Mapped[datetime | None] = mapped_column(Timestamp)


class SyncCursor(LeasedRow, Model):
    """How far one resource of a connection has been read, and which worker holds it."""

    __tablename__ = "sync_cursors"
    __table_args__ = (
        # Used by the previous version during a rolling upgrade.
        Index("ix_sync_cursors_due", "due_at"),
        Index("ix_sync_cursors_ready", "due_at", **_where("next_attempt_at IS NULL")),
        Index("ix_sync_cursors_paused", "next_attempt_at", **_where("next_attempt_at IS NOT NULL")),
    )

    connection_id: Mapped[UUID] = connection_key(primary_key=True)
    resource: Mapped[str] = mapped_column(String(40), primary_key=True)

    due_at: Mapped[datetime] = mapped_column(Timestamp)
    #: The time of the last hint. A pass that began before it is followed by another.
    hinted_at: Mapped[datetime | None] = mapped_column(Timestamp)
    #: Fencing token: grows with each claim. Only the latest holder can store a page.
    fence: Mapped[int] = mapped_column(default=0)

    failures: Mapped[int] = mapped_column(default=0)
    #: Back-off: no pass before this time, even if it is due.
    next_attempt_at: Mapped[datetime | None] = mapped_column(Timestamp)
    #: Why the last attempt failed, such as `forbidden`; null after a success.
    failure: Mapped[str | None] = mapped_column(String(40))
    failed_at: Mapped[datetime | None] = mapped_column(Timestamp)

    #: The highest `updated_at` of all complete passes; null before the first.
    position: Mapped[datetime | None] = mapped_column(Timestamp)
    #: When the last complete pass began: the copy is as of this time.
    read_at: Mapped[datetime | None] = mapped_column(Timestamp)
    #: When the whole list was last read, and when it was first read since the connect.
    whole_at: Mapped[datetime | None] = mapped_column(Timestamp)
    first_pass_at: Mapped[datetime | None] = mapped_column(Timestamp)

    #: The number of the latest whole pass. Each row of the copy has the number of the last pass
    #: that read it.
    mark: Mapped[int] = mapped_column(default=0)
    #: Rows with a lower mark belong to an earlier account, and are not shown.
    shown_from: Mapped[int] = mapped_column(default=1)
    #: Rows below this mark have been removed.
    swept: Mapped[int] = mapped_column(default=0)

    # The current pass; `page` is null if there is none.
    #: The next page to read; 0: the first request, which finds out the number of pages.
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
    """A record that could not be read, and why. It is read again later; others are not affected."""

    __tablename__ = "set_aside"

    connection_id: Mapped[UUID] = connection_key(primary_key=True)
    resource: Mapped[str] = mapped_column(String(40), primary_key=True)
    #: Katana's id as text; if the record has no usable id, a hash of the record.
    record_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    reason: Mapped[str] = mapped_column(String(200))
    tries: Mapped[int] = mapped_column(default=1)
    first_at: Mapped[datetime] = mapped_column(Timestamp)
    retry_at: Mapped[datetime] = mapped_column(Timestamp)
    mark: Mapped[int]


class WebhookState(StrEnum):
    """Whether Katana sends deliveries."""

    ACTIVE = "active"
    #: Not created yet, or to be created again.
    MISSING = "missing"
    #: It cannot be created; `detail` says why. The app polls instead.
    UNAVAILABLE = "unavailable"


class Detail(StrEnum):
    """Why there is no webhook."""

    #: The user's role or plan does not allow webhooks.
    FORBIDDEN = "forbidden"
    #: Katana posts to https only, and the app's URL is plain http.
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
    #: The sealed token that signs its deliveries.
    sealed_token: Mapped[bytes | None] = mapped_column(LargeBinary)
    #: A WebhookState; `detail` has the reason.
    state: Mapped[str] = mapped_column(String(20), default=WebhookState.MISSING)
    detail: Mapped[str | None] = mapped_column(String(100))
    checked_at: Mapped[datetime | None] = mapped_column(Timestamp)
    due_at: Mapped[datetime] = mapped_column(Timestamp, index=True)
    failures: Mapped[int] = mapped_column(default=0)


def hash_of(key: str) -> str:
    """The stored form of a key. The URL cannot be derived from it."""
    return hashlib.sha256(key.encode()).hexdigest()


def token_place(connection_id: UUID) -> AssociatedData:
    """The associated data of a signing token."""
    return AssociatedData("webhooks", "sealed_token", str(connection_id), "")
