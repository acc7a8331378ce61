"""Accounts: sign up, sign in, sign out. Most forks replace this file.

The rest of the app only needs a call of `sessions.begin(user_id)` after the user is authenticated.
`forms.py`, `passwords.py` and their templates are replaced with this file.
"""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user  # type: ignore[import-untyped]
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from werkzeug.wrappers import Response

from app.accounts import passwords, sessions, throttle
from app.accounts.forms import AccountForm, SignInForm, SignUpForm
from app.accounts.models import User
from app.accounts.security_log import Audit, tell
from app.database.db import db

PRESSED_AGAIN_SECONDS = 60

bp = Blueprint("accounts", __name__)


@bp.get("/sign-up")
def sign_up() -> str | Response:
    """The form for a new account."""
    return _to_dashboard() if current_user.is_authenticated else _page(SignUpForm())


@bp.post("/sign-up")
@throttle.sign_ups
def sign_up_submit() -> tuple[str, int] | Response:
    """Create an account, and sign in."""
    form = SignUpForm(request.form)
    if not form.validate():
        return _page(form), 422

    email, password = form.email.data or "", form.password.data or ""
    user_id = _new_user(email, password)
    if user_id is None and _is_pressed_again(email):
        user_id = _user_with(email, password)  # the same form once more, or a wrong password
        if user_id is not None:
            sessions.begin(user_id)
            return throttle.remember(_to_dashboard())
    if user_id is None:
        # Only a mail could tell the owner of the address, and nobody else, that the account exists.
        # This app sends no such mail. So this response takes as long as a new account, is limited
        # in number, and does not say the reason.
        form.refuse(form.email, "No account can be made with this address. Perhaps you have one.")
        return _page(form), 422

    tell(Audit.SIGNED_UP, user_id)
    sessions.begin(user_id)
    return throttle.remember(_to_dashboard())


@bp.get("/sign-in")
def sign_in() -> str | Response:
    """The form to sign in."""
    return _to_dashboard() if current_user.is_authenticated else _page(SignInForm())


@bp.post("/sign-in")
@throttle.sign_ins
def sign_in_submit() -> tuple[str, int] | Response:
    """Sign in, and redirect to the dashboard only: a URL in the query could lead anywhere."""
    form = SignInForm(request.form)
    if not form.validate():
        return _page(form), 422

    user_id = _user_with(form.email.data or "", form.password.data or "")
    if user_id is None:
        form.refuse(form.password, "The e-mail address or the password is not right.")
        return _page(form), 422

    sessions.begin(user_id)
    return throttle.remember(_to_dashboard())


@bp.post("/sign-out")
def sign_out() -> Response:
    """End this browser's session."""
    sessions.end()
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
    """The new user's id; None if the address has an account."""
    password_hash = passwords.hashed(password)
    new = insert(User).values(email=email, password_hash=password_hash, created_at=sessions.now())
    try:
        user_id = db.session.scalar(new.returning(User.id))
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        return None
    return user_id


def _is_pressed_again(email: str) -> bool:
    """Whether the account is new, because its owner has pressed the button twice.

    The password is compared only then. So the time of a refusal does not show whether an older
    account exists.
    """
    new = User.created_at > sessions.now(-PRESSED_AGAIN_SECONDS)
    found = db.session.scalar(select(User.id).where(User.email == email, new)) is not None
    db.session.rollback()
    return found


def _user_with(email: str, password: str) -> int | None:
    """The user's id, if address and password match. An unknown address takes as long."""
    found = select(User.id, User.password_hash).where(User.email == email)
    user = db.session.execute(found).one_or_none()
    db.session.rollback()  # hashing is slow: no transaction stays open in the meantime
    if not passwords.matches(password, user.password_hash if user else None) or user is None:
        tell(Audit.SIGN_IN_REFUSED, user.id if user else None)
        return None

    old = user.password_hash
    if passwords.outdated(old) or passwords.respelled(password, old):
        better = update(User).where(User.id == user.id)
        db.session.execute(better.values(password_hash=passwords.hashed(password)))
        db.session.commit()
    return int(user.id)
