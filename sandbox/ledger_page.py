"""GET / and GET /ledger: the ledger as a page and as JSON."""

from dataclasses import asdict

from flask import Blueprint, Response, jsonify, render_template

from sandbox.families import ENDINGS
from sandbox.faults import TARGETS
from sandbox.seed_factories import FACTORIES, Factory
from sandbox.serializers import family_views
from sandbox.state import memory
from sandbox.webhooks import Webhook

bp = Blueprint("ledger_page", __name__)

_REQUESTS_SHOWN = 500
_FAMILIES_SHOWN = 20
_LINKS_SHOWN = 12
_DELIVERIES_SHOWN = 25
_MAILS_SHOWN = 10

_HAPPENINGS = {
    "new_order": "A new order",
    "change_order": "Change an order",
    "ship_order": "Ship an order",
    "delete_order": "Delete an order",
    "stock_moves": "Stock moves",
    "new_customer": "A new customer",
    "busy_day": "A busy day",
}

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
    """Show every family, the webhooks, the latest requests and deliveries, and the buttons."""
    families = family_views(memory().families)
    deliveries = memory().deliveries
    return render_template(
        "ledger.html",
        families=families[: -_FAMILIES_SHOWN - 1 : -1],
        families_hidden=max(0, len(families) - _FAMILIES_SHOWN),
        factories=_connected(),
        factory_names={factory.key: factory.display_name for factory in FACTORIES},
        happenings=_HAPPENINGS,
        webhooks=memory().webhooks.all()[:_FAMILIES_SHOWN],
        deliveries=deliveries.all()[: -_DELIVERIES_SHOWN - 1 : -1],
        delivery_totals=deliveries.totals(),
        mails=memory().mailbox.all()[: -_MAILS_SHOWN - 1 : -1],
        requests=memory().ledger.entries()[: -_REQUESTS_SHOWN - 1 : -1],
        totals=memory().ledger.totals() | {"deliveries": sum(deliveries.totals().values())},
        rules=memory().rules,
        faults=memory().faults.armed(),
        targets=TARGETS,
        fault_names=_FAULT_NAMES,
        endings=ENDINGS,
        shown=_LINKS_SHOWN,
    )


@bp.get("/ledger")
def ledger() -> Response:
    """Return the same as JSON, oldest first."""
    return jsonify(
        families=[asdict(family) for family in family_views(memory().families)],
        requests=[asdict(entry) for entry in memory().ledger.entries()],
        totals=memory().ledger.totals(),
        rules=asdict(memory().rules),
        faults=[fault.as_json() for fault in memory().faults.armed()],
        webhooks=[_without_token(webhook) for webhook in memory().webhooks.all()[::-1]],
        deliveries=[each.as_json() for each in memory().deliveries.all()],
        mails=[asdict(mail) for mail in memory().mailbox.all()],
        delivery_totals=memory().deliveries.totals(),
    )


def _connected() -> list[Factory]:
    """Return the connected factories, the latest first."""
    with memory().families.lock:
        keys = [family.factory for family in memory().families.all if family.reason is None]
    by_key = {factory.key: factory for factory in FACTORIES}
    return [by_key[key] for key in dict.fromkeys(reversed(keys))]


def _without_token(webhook: Webhook) -> dict[str, object]:
    shown = webhook.as_json() | {"factory": webhook.factory}
    del shown["token"]
    return shown
