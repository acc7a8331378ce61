"""Who is signed in: sign up, sign in, sign out. The part of the pages that most forks replace.

The rest of the app knows of it only `current_user`, with `id`, `email` and `session_id`. A fork
with users of its own keeps `user_sessions`, or another row that ends with the browser session:
connect attempts hang on it.

The cookie holds a random value, the database its hash. Flask's signed cookie alone would know no
sign-out: a copy of it stays good for ever.
"""

import hashlib
import secrets
from dataclasses import dataclass, field

from flask import Blueprint, Flask, flash, redirect, render_template, request, session, url_for
from flask_login import (  # type: ignore[import-untyped]
    LoginManager,
    UserMixin,
    current_user,
    login_user,
)
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from werkzeug.wrappers import Response

from app.clock import SystemClock
from app.db import db
from app.models import User, UserSession
from app.web import passwords, throttle
from app.web.account_forms import AccountForm, SignInForm, SignUpForm

IDLE_SECONDS = 24 * 3600
LONGEST_SECONDS = 14 * 24 * 3600
SEEN_EVERY_SECONDS = 300  # so that not every page load writes

bp = Blueprint("accounts", __name__)
now = SystemClock().database_time


@dataclass(frozen=True)
class SignedIn(UserMixin):  # type: ignore[misc]
    """A user in one browser session."""

    id: int
    email: str
    session_id: int
    token: str = field(repr=False)

    def get_id(self) -> str:
        """What stands in the cookie."""
        return self.token


def init_app(app: Flask) -> None:
    """Let `current_user` tell who is signed in."""
    logins = LoginManager()
    # It would compare a header that anybody can send; the row in `user_sessions` is the protection.
    logins.session_protection = None
    logins.user_loader(_signed_in)
    # No context processor: an error page must come out while the database is away.
    logins.init_app(app, add_context_processor=False)
    app.jinja_env.globals["current_user"] = current_user


@bp.get("/sign-up")
def sign_up() -> str | Response:
    """The form for a new account."""
    return _to_dashboard() if current_user.is_authenticated else _page(SignUpForm())


@bp.post("/sign-up")
@throttle.sign_ups
def sign_up_submit() -> tuple[str, int] | Response:
    """Make an account, and sign in to it."""
    form = SignUpForm(request.form)
    if not form.validate():
        return _page(form), 422

    user_id = _new_user(form.email.data or "", form.password.data or "")
    if user_id is None:
        # Only a mail could tell the owner of the address, and nobody else, that there is an
        # account. This app sends none. So this answer takes as long as a new account, comes a few
        # times only, and leaves the reason open.
        form.refuse(form.email, "No account can be made with this address. Perhaps you have one.")
        return _page(form), 422

    return _begin(user_id)


@bp.get("/sign-in")
def sign_in() -> str | Response:
    """The form to sign in."""
    return _to_dashboard() if current_user.is_authenticated else _page(SignInForm())


@bp.post("/sign-in")
@throttle.sign_ins
def sign_in_submit() -> tuple[str, int] | Response:
    """Sign in, always on to the dashboard: an address in the query could lead anywhere."""
    form = SignInForm(request.form)
    if not form.validate():
        return _page(form), 422

    user_id = _user_with(form.email.data or "", form.password.data or "")
    if user_id is None:
        form.refuse(form.password, "The e-mail address or the password is not right.")
        return _page(form), 422

    throttle.remember()
    return _begin(user_id)


@bp.post("/sign-out")
def sign_out() -> Response:
    """End this browser's session, for every copy of its cookie."""
    _end()
    flash("You are signed out.")
    response = redirect(url_for("dashboard.landing"), 303)
    # Not "cookies": that would sign the user out of every app on the same domain.
    response.headers["Clear-Site-Data"] = '"storage"'
    return response


def _page(form: AccountForm) -> str:
    return render_template(form.template, form=form)


def _to_dashboard() -> Response:
    return redirect(url_for("dashboard.dashboard"), 303)


def _new_user(email: str, password: str) -> int | None:
    new = insert(User).values(
        email=email, password_hash=passwords.hashed(password), created_at=now()
    )
    try:
        user_id = db.session.scalar(new.returning(User.id))
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        return None
    return user_id


def _user_with(email: str, password: str) -> int | None:
    user = db.session.execute(
        select(User.id, User.password_hash).where(User.email == email)
    ).one_or_none()
    db.session.rollback()  # hashing takes its time: nothing stays open meanwhile
    if not passwords.matches(password, user.password_hash if user else None) or user is None:
        return None

    if passwords.outdated(user.password_hash):
        better = update(User).where(User.id == user.id)
        db.session.execute(better.values(password_hash=passwords.hashed(password)))
        db.session.commit()
    return int(user.id)


def _begin(user_id: int) -> Response:
    """Sign in: a new session in which nothing of the one before is left."""
    _end()
    token = secrets.token_urlsafe(32)
    db.session.execute(delete(UserSession).where(UserSession.expires_at < now()))
    db.session.execute(
        insert(UserSession).values(
            token_hash=_hash_of(token),
            user_id=user_id,
            created_at=now(),
            last_seen_at=now(),
            expires_at=now(LONGEST_SECONDS),
        )
    )
    db.session.commit()
    login_user(_signed_in(token))
    return _to_dashboard()


def _end() -> None:
    token = session.get("_user_id", "")
    session.clear()
    db.session.execute(delete(UserSession).where(UserSession.token_hash == _hash_of(token)))
    db.session.commit()


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
    db.session.commit()  # a page may go on to ask Katana, with no transaction open
    return SignedIn(row.id, row.email, row.session_id, token) if row else None


def _hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
