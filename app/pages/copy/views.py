"""The routes. The connection is always the signed-in user's, never a parameter."""

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user  # type: ignore[import-untyped]
from werkzeug.wrappers import Response

from app import sync
from app.connections import lifecycle
from app.connections.models import Connection
from app.database.db import db
from app.katana.fields import MOST_ID
from app.pages.copy import orders, stock
from app.pages.copy.freshness import state
from app.pages.copy.search import Search
from app.pages.copy.set_aside import set_aside

#: The page to return to after "Update now", by the value in its form.
BACK = {"orders": "copy.all_orders", "stock": "copy.all_stock"}

PLAIN = "text/plain; charset=utf-8"
ASKED = "Katana is asked now. What is new appears here in a moment."
JUST_ASKED = "Katana was asked only a few seconds ago. Wait a moment before you ask again."

bp = Blueprint("copy", __name__)


@bp.get("/orders")
def all_orders() -> str:
    """All orders, with search, filter by status, and pagination."""
    connection = _connection()
    if connection is None:
        return render_template("copy/orders.html", connection=None)

    connection_id, asked = connection.id, Search.read(request.args)
    return render_template(
        "copy/orders.html",
        state=state(connection),
        connection=connection,
        asked=asked,
        orders=orders.search(connection_id, asked),
        aside=set_aside(connection_id, "sales_orders"),
    )


@bp.get(f"/orders/<int(max={MOST_ID}):order_id>")
def one_order(order_id: int) -> str:
    """One order with its rows; 404 if the user's own Katana account has no order with this id."""
    connection = _connection() or abort(404)
    connection_id = connection.id
    found = state(connection)
    order = orders.one(connection_id, order_id) or abort(404)
    return render_template("copy/order.html", state=found, connection=connection, order=order)


@bp.get("/stock")
def all_stock() -> str:
    """All stock; variants that run short come first."""
    connection = _connection()
    if connection is None:
        return render_template("copy/stock.html", connection=None)

    connection_id, page = connection.id, stock.page_of(request.args.get("page"))
    return render_template(
        "copy/stock.html",
        state=state(connection),
        connection=connection,
        stock=stock.stock(connection_id, page),
        aside=set_aside(connection_id, "inventory"),
    )


@bp.get("/copy/version")
def version() -> Response:
    """A short text that changes when a page would show something else, for `page.js`."""
    connection = _connection()
    return Response(state(connection).version if connection else "", content_type=PLAIN)


@bp.post("/copy/update")
def update() -> Response:
    """Make everything due now. A worker reads it; this request does not wait."""
    connection = _connection()
    if connection:
        connection_id = connection.id
        db.session.rollback()  # SQLite allows one writer
        asked = sync.update_now(connection_id)
        flash(ASKED if asked else JUST_ASKED)
    return redirect(url_for(BACK.get(request.form.get("back", ""), "dashboard.dashboard")), 303)


def _connection() -> Connection | None:
    return lifecycle.find(current_user.id)
