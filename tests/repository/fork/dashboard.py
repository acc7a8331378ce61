"""A fork's dashboard: what the connected factory makes."""

from flask import Blueprint, render_template
from flask_login import current_user  # type: ignore[import-untyped]

from app.connections import lifecycle
from app.errors import ConnectError
from app.pages import katana_api

bp = Blueprint("dashboard", __name__)


@bp.get("/")
def landing() -> str:
    """The first page."""
    return render_template("landing.html")


@bp.get("/dashboard")
def dashboard() -> str:
    """The products, once there is a connection."""
    try:
        products = katana_api.for_user(current_user.id).products(3)
    except ConnectError:
        products = ()
    return render_template(
        "dashboard.html", connection=lifecycle.find(current_user.id), products=list(products)
    )
