"""The tables of the core: connect attempts, connections, their count, and their history."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Enum,
    Index,
    LargeBinary,
    String,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.connections.host import BrowserId, Model, UserId, browser_column, user_column
from app.database.columns import Timestamp
from app.database.leased_rows import LeasedRow


def _words(kind: type[StrEnum]) -> Enum:
    # A VARCHAR of the member's value with a CHECK: readable, and the same on every database.
    return Enum(
        kind,
        native_enum=False,
        length=32,
        create_constraint=True,
        values_callable=lambda members: [member.value for member in members],
    )


class ConnectAttempt(Model):
    """A connect in progress, from the button to the callback. Consumed by one DELETE.

    While the code is exchanged, a row without a verifier replaces it. A repeated callback finds
    that row and waits.
    """

    __tablename__ = "connect_attempts"

    #: SHA-256 of `state`.
    state_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    #: Only this browser session, and so this user, may finish it.
    user_session_id: Mapped[BrowserId] = browser_column()
    #: The PKCE verifier; empty while the code is exchanged.
    sealed_verifier: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Timestamp)
    #: End of the time to consume it, or to exchange its code.
    expires_at: Mapped[datetime] = mapped_column(Timestamp, index=True)


class Status(StrEnum):
    """Whether a connection can be used."""

    ACTIVE = "active"
    RECONNECT_NEEDED = "reconnect_needed"


class Reason(StrEnum):
    """Why the user must reconnect."""

    #: Katana refused the refresh token twice: it was revoked, or has expired.
    GRANT_ENDED = "grant_ended"
    #: A token response was lost, and the refresh token that was sent is spent.
    ANSWER_LOST = "answer_lost"


class Connection(Model):
    """A user's link to one Katana account: its tokens, and the lease of the refresh.

    docs/refresh-protocol.md lists the writers and readers of each column from `generation` on.
    """

    __tablename__ = "connections"
    __table_args__ = (
        CheckConstraint("(status = 'active') = (reason IS NULL)", name="reason_when_needed"),
        CheckConstraint("(lease_owner IS NULL) = (lease_until IS NULL)", name="lease_whole"),
        CheckConstraint("generation > 0", name="generation_counts"),
        CheckConstraint("parent_generation < generation", name="generation_grows"),
        Index("ix_connections_keep_alive", "status", "refreshed_at", "id"),
        # For `overview.py`, which reads the earliest one.
        Index(
            "ix_connections_overdue",
            "status",
            "renew_at",
            sqlite_where=text("failures > 0"),
            postgresql_where=text("failures > 0"),
        ),
        # For `app/sync/accounts.py`, which reads those connected within the last hour.
        Index("ix_connections_connected_at", "connected_at"),
        # For `circuit_breaker.py`, which reads the latest one before each refresh.
        Index(
            "ix_connections_renewed",
            "refreshed_at",
            sqlite_where=text("parent_generation IS NOT NULL"),
            postgresql_where=text("parent_generation IS NOT NULL"),
        ),
    )

    #: Random and never reused: an old encrypted token does not decrypt in a later connection.
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, default=uuid4)
    user_id: Mapped[UserId] = user_column(unique=True)
    status: Mapped[Status] = mapped_column(_words(Status))
    reason: Mapped[Reason | None] = mapped_column(_words(Reason))
    #: The name of the Katana account. Only a label: Katana publishes no stable id.
    factory_name: Mapped[str | None] = mapped_column(String(200))
    #: SHA-256 of the `state` of this grant's attempt: recognizes a repeated callback.
    connected_by: Mapped[str] = mapped_column(String(64))
    connected_at: Mapped[datetime] = mapped_column(Timestamp)

    sealed_access_token: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_refresh_token: Mapped[bytes] = mapped_column(LargeBinary)
    scope: Mapped[str | None] = mapped_column(String(500))
    #: When the access token stops being used: its lifetime, less an allowance for latency.
    expires_at: Mapped[datetime] = mapped_column(Timestamp)
    #: From then on, one caller refreshes early, while the others still use the token.
    renew_at: Mapped[datetime] = mapped_column(Timestamp)
    #: When Katana last issued an access token.
    refreshed_at: Mapped[datetime] = mapped_column(Timestamp, index=True)

    #: Counts the grants and token responses that were stored.
    generation: Mapped[int]
    #: The generation whose refresh token was exchanged for this one; null after a connect.
    parent_generation: Mapped[int | None]
    #: Fencing token: grows with each claim.
    fence: Mapped[int] = mapped_column(default=0)
    #: The fencing token of the holder that saved this generation.
    written_fence: Mapped[int] = mapped_column(default=0)
    #: The caller that may send the refresh token, and until when.
    lease_owner: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[datetime | None] = mapped_column(Timestamp)
    #: When the refresh token was sent. Stays set if no response came: the token is possibly spent.
    sent_at: Mapped[datetime | None] = mapped_column(Timestamp)
    #: When an earlier request of this generation was sent, if it got no response.
    doubtful_since: Mapped[datetime | None] = mapped_column(Timestamp)
    #: When Katana refused the refresh token; a second refusal confirms it.
    refused_at: Mapped[datetime | None] = mapped_column(Timestamp, index=True)
    #: Back-off: no refresh before this time.
    next_attempt_at: Mapped[datetime | None] = mapped_column(Timestamp)
    #: Failed refreshes since the last success; sets the length of the next back-off.
    failures: Mapped[int] = mapped_column(default=0)
    #: When refreshes began to fail. Ignored if it is earlier than `refreshed_at`.
    failing_since: Mapped[datetime | None] = mapped_column(Timestamp)
    #: How often this grant was refreshed; `refreshed_at` is the last time.
    renewals: Mapped[int] = mapped_column(default=0, server_default="0")


class ConnectionCount(LeasedRow, Model):
    """The last count of the connections. One row; `fleet/overview.py` updates it."""

    __tablename__ = "connection_count"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: The count for each Status; empty before the first count.
    numbers: Mapped[dict[str, int]] = mapped_column(JSON)
    #: When the count began.
    counted_at: Mapped[datetime | None] = mapped_column(Timestamp)


class EventKind(StrEnum):
    """What can happen to a connection."""

    CONNECTED = "connected"
    REFRESHED = "refreshed"
    REFRESH_FAILED = "refresh_failed"
    RECONNECT_NEEDED = "reconnect_needed"
    DISCONNECTED = "disconnected"


class ConnectionEvent(Model):
    """The history of a user's connection: the latest changes and failures, without secrets.

    It is kept after a disconnect. Plain refreshes are counted in `renewals`, not listed here.
    """

    __tablename__ = "connection_events"
    __table_args__ = (Index("ix_connection_events_history", "user_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[UserId] = user_column()
    #: No foreign key: the connection may be deleted.
    connection_id: Mapped[UUID] = mapped_column(Uuid)
    kind: Mapped[EventKind] = mapped_column(_words(EventKind))
    #: A RefreshOutcome, a Reason or a Revocation.
    detail: Mapped[str | None] = mapped_column(String(100))
    at: Mapped[datetime] = mapped_column(Timestamp)
