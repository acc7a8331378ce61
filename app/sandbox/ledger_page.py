"""GET / and GET /ledger: the ledger as a page and as JSON."""

from dataclasses import asdict

from flask import Blueprint, Response, jsonify, render_template

from app.sandbox.state import memory
from app.sandbox.views import family_views

bp = Blueprint("ledger_page", __name__)

_ON_THE_PAGE = 500


@bp.get("/")
def page() -> str:
    """Show every family, the latest requests, and the buttons."""
    return render_template(
        "ledger.html",
        families=family_views(memory().families)[::-1],
        requests=memory().ledger.entries()[: -_ON_THE_PAGE - 1 : -1],
        totals=memory().ledger.totals(),
        rules=memory().rules,
        faults=memory().faults.armed(),
    )


@bp.get("/ledger")
def ledger() -> Response:
    """Answer the same as JSON, oldest first."""
    return jsonify(
        families=[asdict(family) for family in family_views(memory().families)],
        requests=[asdict(entry) for entry in memory().ledger.entries()],
        totals=memory().ledger.totals(),
        rules=asdict(memory().rules),
        faults=[fault.as_json() for fault in memory().faults.armed()],
    )
