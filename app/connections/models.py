"""The tables of the core: connect attempts, connections, and their history."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import (
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


def _words(kind: type[StrEnum]) -> Enum:
    # Plain text by value, with a check: readable in the database, the same on every one.
    return Enum(
        kind,
        native_enum=False,
        length=32,
        create_constraint=True,
        values_callable=lambda members: [member.value for member in members],
    )


class ConnectAttempt(Model):
    """A connect in progress, from the button to Katana's answer. Consumed by one DELETE.

    While its code is exchanged, a row without a verifier stands in its place, which tells a repeat
    of the callback to wait.
    """

    __tablename__ = "connect_attempts"

    #: SHA-256 of `state`.
    state_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    #: Only this browser session, hence this user, may finish it.
    user_session_id: Mapped[BrowserId] = browser_column()
    #: The PKCE verifier; empty while the code is exchanged.
    sealed_verifier: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Timestamp)
    #: Until when it may be consumed, or the exchange of its code may take.
    expires_at: Mapped[datetime] = mapped_column(Timestamp, index=True)


class Status(StrEnum):
    """Whether a connection can be used."""

    ACTIVE = "active"
    RECONNECT_NEEDED = "reconnect_needed"


class Reason(StrEnum):
    """Why a connection must be made again."""

    #: Katana says twice that the refresh token is no good: revoked, or past its lifetime.
    GRANT_ENDED = "grant_ended"
    #: An answer with the next refresh token never reached us, and the one before is spent.
    ANSWER_LOST = "answer_lost"


class Connection(Model):
    """A user's link to one Katana account: the grant, and who may renew it right now.

    `connections/refresh.py` tells how the columns from `generation` on work together.
    """

    __tablename__ = "connections"
    __table_args__ = (
        CheckConstraint("(status = 'active') = (reason IS NULL)", name="reason_when_needed"),
        CheckConstraint("(lease_owner IS NULL) = (lease_until IS NULL)", name="lease_whole"),
        CheckConstraint("generation > 0", name="generation_counts"),
        CheckConstraint("parent_generation < generation", name="generation_grows"),
        Index("ix_connections_keep_alive", "status", "refreshed_at", "id"),
        # For `overview.py`, which asks for the first of these.
        Index(
            "ix_connections_overdue",
            "status",
            "renew_at",
            sqlite_where=text("failures > 0"),
            postgresql_where=text("failures > 0"),
        ),
        # For `circuit_breaker.py`, which asks for the last of these before each refresh.
        Index(
            "ix_connections_renewed",
            "refreshed_at",
            sqlite_where=text("parent_generation IS NOT NULL"),
            postgresql_where=text("parent_generation IS NOT NULL"),
        ),
    )

    #: Random and never used again: an old sealed token opens in no later connection.
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, default=uuid4)
    user_id: Mapped[UserId] = user_column(unique=True)
    status: Mapped[Status] = mapped_column(_words(Status))
    reason: Mapped[Reason | None] = mapped_column(_words(Reason))
    #: What Katana calls the account. A label: Katana publishes no stable id.
    factory_name: Mapped[str | None] = mapped_column(String(200))
    #: SHA-256 of the `state` that this grant came by: tells a repeated callback from a forged one.
    connected_by: Mapped[str] = mapped_column(String(64))
    connected_at: Mapped[datetime] = mapped_column(Timestamp)

    sealed_access_token: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_refresh_token: Mapped[bytes] = mapped_column(LargeBinary)
    scope: Mapped[str | None] = mapped_column(String(500))
    #: When we stop using the access token: Katana's lifetime, less a small allowance for the way.
    expires_at: Mapped[datetime] = mapped_column(Timestamp)
    #: From when on whoever comes by renews it, while everybody else goes on using it.
    renew_at: Mapped[datetime] = mapped_column(Timestamp)
    #: When Katana last gave us tokens.
    refreshed_at: Mapped[datetime] = mapped_column(Timestamp, index=True)

    #: How often the grant has changed.
    generation: Mapped[int]
    #: The generation whose refresh token bought this one; none after a connect.
    parent_generation: Mapped[int | None]
    #: How often the lease was taken; each holder's number is its own.
    fence: Mapped[int] = mapped_column(default=0)
    #: The fence of the holder that saved this generation.
    written_fence: Mapped[int] = mapped_column(default=0)
    #: Who may send the refresh token, and until when.
    lease_owner: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[datetime | None] = mapped_column(Timestamp)
    #: The refresh token may have been spent from here on. Kept when its answer never came.
    sent_at: Mapped[datetime | None] = mapped_column(Timestamp)
    #: An earlier send of this generation whose answer never came.
    doubtful_since: Mapped[datetime | None] = mapped_column(Timestamp)
    #: Katana refused the refresh token once; a second refusal is the verdict.
    refused_at: Mapped[datetime | None] = mapped_column(Timestamp, index=True)
    #: Nobody asks Katana before this moment.
    next_attempt_at: Mapped[datetime | None] = mapped_column(Timestamp)
    #: Failed refreshes since the last good one: sets the pause before the next.
    failures: Mapped[int] = mapped_column(default=0)
    #: When refreshes began to fail; counts only where it is later than `refreshed_at`.
    failing_since: Mapped[datetime | None] = mapped_column(Timestamp)
    #: How often this grant was renewed; `refreshed_at` is the last time.
    renewals: Mapped[int] = mapped_column(default=0, server_default="0")


class EventKind(StrEnum):
    """What can happen to a connection."""

    CONNECTED = "connected"
    REFRESHED = "refreshed"
    REFRESH_FAILED = "refresh_failed"
    RECONNECT_NEEDED = "reconnect_needed"
    DISCONNECTED = "disconnected"


class ConnectionEvent(Model):
    """The history of a user's connection: what changed or failed, the latest only; no secrets.

    It outlives the connection. Renewals are counted on the connection, not listed here.
    """

    __tablename__ = "connection_events"
    __table_args__ = (Index("ix_connection_events_history", "user_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[UserId] = user_column()
    #: No foreign key: the connection may be gone.
    connection_id: Mapped[UUID] = mapped_column(Uuid)
    kind: Mapped[EventKind] = mapped_column(_words(EventKind))
    #: The class of a failure, the reason of an end, the outcome of a revocation.
    detail: Mapped[str | None] = mapped_column(String(100))
    at: Mapped[datetime] = mapped_column(Timestamp)
