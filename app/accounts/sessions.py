"""Browser sessions, from sign-in to sign-out.

The rest of the app uses only `current_user`, with `id`, `email` and `session_id`. The cookie has a
random value, and the database has its hash. With Flask's signed cookie alone, a copy of the cookie
would stay valid after the sign-out.
"""

import hashlib
import secrets
from dataclasses import dataclass, field

from flask import Flask, Request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask_login import (  # type: ignore[import-untyped]
    LoginManager,
    UserMixin,
    current_user,
    login_user,
)
from itsdangerous import BadSignature
from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from werkzeug.exceptions import Unauthorized

from app.accounts.models import User, UserSession
from app.accounts.security_log import Audit, tell
from app.database.clock import SystemClock
from app.database.db import db

IDLE_SECONDS = 24 * 3600
LONGEST_SECONDS = 14 * 24 * 3600
CLEARED = 100  # the most expired sessions that one sign-in deletes
SEEN_EVERY_SECONDS = 300  # so that not every page load writes

now = SystemClock().database_time


@dataclass(frozen=True)
class SignedIn(UserMixin):  # type: ignore[misc]
    """A user in one browser session."""

    id: int
    email: str
    session_id: int
    token: str = field(repr=False)

    def get_id(self) -> str:
        """The value in the cookie."""
        return self.token


class AgelessCookies(SecureCookieSessionInterface):
    """Flask's session cookie, without a check of its age.

    Flask checks the age by the host's own clock. A host whose clock is slow would refuse a new
    cookie, because it seems to come from the future. The row of the session has its end.
    """

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """The content of the cookie; empty if the signature is not valid."""
        signing = self.get_signing_serializer(app)
        if signing is None:
            return None

        try:
            return self.session_class(signing.loads(request.cookies[self.get_cookie_name(app)]))
        except (KeyError, BadSignature):
            return self.session_class()


def init_app(app: Flask) -> None:
    """Set up `current_user`."""
    app.session_interface = AgelessCookies()
    logins = LoginManager()
    # Flask-Login's protection compares headers that anyone can send. The row in `user_sessions` is
    # the protection.
    logins.session_protection = None
    logins.user_loader(_signed_in)
    # No context processor: an error page must work while the database is down.
    logins.init_app(app, add_context_processor=False)
    app.jinja_env.globals["current_user"] = current_user


def begin(user_id: int) -> None:
    """Sign this browser in, with a new, empty session.

    Raises Unauthorized if the account has been deleted in the meantime.
    """
    end()
    token = secrets.token_urlsafe(32)
    db.session.execute(delete(UserSession).where(UserSession.id.in_(_expired())))
    new = insert(UserSession).values(
        token_hash=_hash_of(token),
        user_id=user_id,
        created_at=now(),
        last_seen_at=now(),
        expires_at=now(LONGEST_SECONDS),
    )
    try:
        db.session.execute(new)
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        raise Unauthorized from None
    user = _signed_in(token)
    if user is None:
        raise Unauthorized

    login_user(user)
    tell(Audit.SIGNED_IN, user_id)


def end() -> None:
    """Sign this browser out. Copies of its cookie become invalid too."""
    token = session.get("_user_id", "")
    ending = delete(UserSession).returning(UserSession.user_id)
    user_id = db.session.scalar(ending.where(UserSession.token_hash == _hash_of(token)))
    db.session.commit()
    session.clear()  # last: if the database fails, the user can try again
    if user_id:
        tell(Audit.SIGNED_OUT, user_id)


def _signed_in(token: str) -> SignedIn | None:
    row = db.session.execute(
        select(
            User.id,
            User.email,
            UserSession.id.label("session_id"),
            (UserSession.last_seen_at < now(-SEEN_EVERY_SECONDS)).label("unseen"),
        )
        .join(User, User.id == UserSession.user_id)
        .where(
            UserSession.token_hash == _hash_of(token),
            UserSession.last_seen_at > now(-IDLE_SECONDS),
            UserSession.expires_at > now(),
        )
    ).one_or_none()
    if row and row.unseen:
        seen = update(UserSession).where(UserSession.id == row.session_id)
        db.session.execute(seen.values(last_seen_at=now()))
    db.session.commit()  # no transaction is open while a page sends requests to Katana
    return SignedIn(row.id, row.email, row.session_id, token) if row else None


def _expired() -> Select[int]:
    """A batch of expired sessions, found by the index of `expires_at`."""
    is_past = UserSession.expires_at < select(now()).scalar_subquery()
    return select(UserSession.id).where(is_past).order_by(UserSession.expires_at).limit(CLEARED)


def _hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
