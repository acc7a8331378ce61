"""The user's own account: download its data, delete it."""

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask_login import current_user  # type: ignore[import-untyped]
from sqlalchemy import select
from werkzeug.wrappers import Response as AnyResponse

from app import connections
from app.accounts import passwords, personal_data, sessions, throttle
from app.accounts.forms import DeleteForm
from app.accounts.models import User
from app.accounts.security_log import Audit, tell
from app.connections import lifecycle
from app.connections.lifecycle import Revocation
from app.database.db import db

DELETED = "Your account is deleted, with everything that this app kept about you."
FAREWELLS = {
    Revocation.REVOKED: f"{DELETED} Katana confirmed that access is revoked.",
    Revocation.NOT_OFFERED: DELETED,
    Revocation.FAILED: f"{DELETED} Katana did not confirm that access is revoked.",
    None: DELETED,
}

bp = Blueprint("account", __name__, url_prefix="/account")


@bp.get("")
def account() -> str:
    """The page of the account: what is stored, and what the user can do."""
    since = db.session.scalar(select(User.created_at).where(User.id == current_user.id))
    return render_template("account.html", since=since)


@bp.post("/download")
@throttle.downloads
def download() -> Response:
    """All data that is stored about the user, as a file."""
    user_id = current_user.id
    tell(Audit.EXPORTED, user_id)
    pieces = personal_data.export(db.engine, user_id)
    response = Response(pieces, content_type="application/json; charset=utf-8")
    response.headers.set("Content-Disposition", "attachment", filename="connect-to-katana.json")
    return response


@bp.get("/delete")
def delete() -> str:
    """What is deleted with the account, and the form to delete it."""
    return _page(DeleteForm())


@bp.post("/delete")
@throttle.deletions
def delete_submit() -> tuple[str, int] | AnyResponse:
    """Delete the account: the connection, all rows, the sessions on all devices."""
    user_id, email = current_user.id, current_user.email
    form = DeleteForm(request.form)
    if not form.validate():
        return _page(form), 422

    if not _is_password_of(user_id, form.password.data or ""):
        tell(Audit.DELETION_REFUSED, user_id)
        form.refuse()
        return _page(form), 422

    revocation = connections.current().lifecycle.leave(user_id, personal_data.erase)
    tell(Audit.DELETED, user_id)
    sessions.end()
    flash(FAREWELLS[revocation])
    response = redirect(url_for("dashboard.landing"), 303)
    response.headers["Clear-Site-Data"] = '"storage"'
    return throttle.forget(response, email)


def _page(form: DeleteForm) -> str:
    connection = lifecycle.find(current_user.id)
    return render_template("delete_account.html", form=form, connection=connection)


def _is_password_of(user_id: int, password: str) -> bool:
    stored = db.session.scalar(select(User.password_hash).where(User.id == user_id))
    db.session.rollback()  # hashing is slow: no transaction stays open meanwhile
    return passwords.matches(password, stored)
