"""What sync remembers beside the copy: accounts and their budget, cursors, hints, the feed.

Every row belongs to a connection and is deleted with it. The copy itself is in `copy.py`.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, String, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database.columns import Timestamp
from app.database.db import Model

CONNECTION = "connections.id"


def connection_key(**options: Any) -> Mapped[UUID]:
    """The column that names the connection; disconnecting deletes the row."""
    return mapped_column(Uuid, ForeignKey(CONNECTION, ondelete="CASCADE"), **options)


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


class SyncCursor(Model):
    """How far one resource of a connection has been read, and who is reading it."""

    __tablename__ = "sync_cursors"
    __table_args__ = (
        # Of the version before, which still uses it in a rolling upgrade.
        Index("ix_sync_cursors_due", "due_at"),
        Index(
            "ix_sync_cursors_ready",
            "due_at",
            sqlite_where=text("next_attempt_at IS NULL"),
            postgresql_where=text("next_attempt_at IS NULL"),
        ),
        Index(
            "ix_sync_cursors_paused",
            "next_attempt_at",
            sqlite_where=text("next_attempt_at IS NOT NULL"),
            postgresql_where=text("next_attempt_at IS NOT NULL"),
        ),
    )

    connection_id: Mapped[UUID] = connection_key(primary_key=True)
    resource: Mapped[str] = mapped_column(String(40), primary_key=True)

    due_at: Mapped[datetime] = mapped_column(Timestamp)
    #: When a hint last came: a pass that began before it is followed by another.
    hinted_at: Mapped[datetime | None] = mapped_column(Timestamp)
    lease_owner: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[datetime | None] = mapped_column(Timestamp)
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


class ChangeKind(StrEnum):
    """What happened to a record of the copy."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


class ChangeRow(Model):
    """One entry of the feed. `feed.py` says why positions are in order of commit."""

    __tablename__ = "changes"
    __table_args__ = (
        Index("ix_changes_record", "connection_id", "resource", "record_id", "position"),
    )

    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    connection_id: Mapped[UUID] = connection_key()
    resource: Mapped[str] = mapped_column(String(40))
    record_id: Mapped[int] = mapped_column(BigInteger)
    #: For stock, whose records are a variant at a location; else 0.
    location_id: Mapped[int] = mapped_column(BigInteger, default=0)
    #: A ChangeKind.
    kind: Mapped[str] = mapped_column(String(10))
    at: Mapped[datetime] = mapped_column(Timestamp)


class Feed(Model):
    """The last position given. One row; its lock puts positions in order of commit."""

    __tablename__ = "feed"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(BigInteger)
