"""A fork's sign-in: whoever names an address is believed. Good for a test and for nothing else."""

from flask import Blueprint, redirect, render_template, request, url_for
from sqlalchemy import insert, select
from werkzeug.wrappers import Response

from app.accounts import sessions
from app.accounts.models import User
from app.database.db import db

bp = Blueprint("accounts", __name__)


@bp.get("/sign-in")
def sign_in() -> str:
    """Ask for an address."""
    return render_template("sign_in.html")


@bp.post("/sign-in")
def sign_in_submit() -> Response:
    """Believe it."""
    sessions.begin(_user_id(request.form["email"]))
    return redirect(url_for("dashboard.dashboard"), 303)


@bp.post("/sign-out")
def sign_out() -> Response:
    """End this browser's session."""
    sessions.end()
    return redirect(url_for("dashboard.landing"), 303)


def _user_id(email: str) -> int:
    known = db.session.scalar(select(User.id).where(User.email == email))
    new = insert(User).values(email=email, password_hash="", created_at=sessions.now())
    return known or int(db.session.scalars(new.returning(User.id)).one())
