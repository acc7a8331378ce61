"""GET / and GET /ledger: the ledger as a page and as JSON."""

from dataclasses import asdict

from flask import Blueprint, Response, jsonify, render_template

from sandbox.families import ENDINGS
from sandbox.faults import TARGETS
from sandbox.state import memory
from sandbox.views import family_views
from sandbox.webhooks import Webhook

bp = Blueprint("ledger_page", __name__)

_REQUESTS_SHOWN = 500
_FAMILIES_SHOWN = 20
_LINKS_SHOWN = 12

_FAULT_NAMES = {
    "lose_answer": "answer lost",
    "drop_before": "dropped unread",
    "status": "failing status",
    "slow": "slow",
    "drip": "byte by byte",
    "redirect": "redirected",
    "omit": "fields omitted",
    "body": "other body",
    "invalid_grant": "spurious invalid_grant",
    "lose": "lost",
    "double": "sent twice",
    "reorder": "after the next",
    "delay": "late",
    "forge": "signed wrongly",
    "unsigned": "not signed",
}


@bp.get("/")
def page() -> str:
    """Show every family, the latest requests, and the buttons."""
    families = family_views(memory().families)
    return render_template(
        "ledger.html",
        families=families[: -_FAMILIES_SHOWN - 1 : -1],
        families_hidden=max(0, len(families) - _FAMILIES_SHOWN),
        requests=memory().ledger.entries()[: -_REQUESTS_SHOWN - 1 : -1],
        totals=memory().ledger.totals(),
        rules=memory().rules,
        faults=memory().faults.armed(),
        targets=TARGETS,
        fault_names=_FAULT_NAMES,
        endings=ENDINGS,
        shown=_LINKS_SHOWN,
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
        webhooks=[_without_token(webhook) for webhook in memory().webhooks.all()[::-1]],
        deliveries=[each.as_json() for each in memory().deliveries.all()],
        delivery_totals=memory().deliveries.totals(),
    )


def _without_token(webhook: Webhook) -> dict[str, object]:
    shown = webhook.as_json() | {"factory": webhook.factory}
    del shown["token"]
    return shown
