"""The tables of the accounts: users, browser sessions, rate limits."""

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database.columns import Timestamp
from app.database.db import Model


class User(Model):
    """A user of this app. Most forks replace this table with their own."""

    __tablename__ = "users"
    # Ids are not reused: a request of a deleted user must not end as one of the next user.
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  as SQLAlchemy declares it

    id: Mapped[int] = mapped_column(primary_key=True)
    #: In the form of `normal_email`, so that one mailbox has one account.
    email: Mapped[str] = mapped_column(String(254), unique=True)
    #: Argon2id in its text form, salt and costs included.
    password_hash: Mapped[str] = mapped_column(String(256))
    created_at: Mapped[datetime] = mapped_column(Timestamp)


class UserSession(Model):
    """A signed-in browser. Deleting the row signs it out and makes copies of its cookie invalid."""

    __tablename__ = "user_sessions"

    id: Mapped[int] = mapped_column(primary_key=True)
    #: SHA-256 of the random value in the cookie: a copy of this table opens no session.
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(Timestamp)
    last_seen_at: Mapped[datetime] = mapped_column(Timestamp)
    expires_at: Mapped[datetime] = mapped_column(Timestamp, index=True)


class RateLimit(Model):
    """A rate limit's count in the current window, shared by all workers and hosts."""

    __tablename__ = "rate_limits"

    key: Mapped[str] = mapped_column(String(300), primary_key=True)
    hits: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(Timestamp, index=True)
