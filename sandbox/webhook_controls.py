"""Controls that change webhooks on Katana's side, and that send any delivery."""

import json
from collections.abc import Mapping

from flask import Blueprint, Response, jsonify, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox import validation
from sandbox.form_or_json import asked, done, refuse_politely
from sandbox.state import memory
from sandbox.webhook_dispatch import deliver
from sandbox.webhooks import Webhook

bp = Blueprint("webhook_controls", __name__)
refuse_politely(bp)

_DEEDS = ("disable", "enable", "delete")


@bp.post("/webhooks")
def change() -> AnyResponse:
    """Disable, enable or delete one webhook or all, as a user can at Katana."""
    told = asked()
    deed = validation.one_of("do", told.get("do"), _DEEDS)
    webhooks = _chosen(told)
    for webhook in webhooks:
        if deed == "delete":
            memory().webhooks.delete(webhook.id)
        else:
            memory().webhooks.change(webhook.id, {"enabled": deed == "enable"})
    return done({"changed": [webhook.id for webhook in webhooks]})


@bp.post("/webhooks/foreign")
def add_foreign() -> AnyResponse:
    """Register a webhook of another app, which the connected app must not change."""
    told = asked()
    factory = str(told.get("factory") or "")
    if factory not in memory().lives:
        raise LookupError(f"There is no factory called {factory!r}.")
    fields = {
        "url": str(told.get("url") or "https://another-app.example.com/katana"),
        "subscribed_events": ["sales_order.created"],
        "description": "Another app",
    }
    return done({"id": memory().webhooks.add(factory, "", fields).id})


@bp.post("/deliver")
def deliver_by_hand() -> AnyResponse:
    """Post any body to a webhook: `payload` is JSON, `text` is sent unchanged."""
    told = asked()
    webhook = _chosen(told)[0]
    text = told["text"] if "text" in told else json.dumps(told.get("payload"))
    signature = validation.one_of(
        "signature", told.get("signature", "right"), ("right", "wrong", "none")
    )
    sent = deliver(memory(), webhook, "by hand", str(text).encode(), signature)
    return done({"delivery": sent.n})


@bp.post("/deliveries/hurry")
def hurry() -> AnyResponse:
    """Post every waiting delivery now."""
    return done({"hurried": memory().sender.hurry()})


@bp.get("/deliveries")
def deliveries() -> Response:
    """Return the latest deliveries, oldest first, and how many there are in each state.

    `latest` is the number of deliveries; without it, all that are stored are returned.
    """
    log = memory().deliveries
    wanted = validation.whole_number("latest", request.args.get("latest", 10**6), low=0, high=10**6)
    latest = log.all()[-wanted:] if wanted else []
    return jsonify(deliveries=[each.as_json() for each in latest], totals=log.totals())


def _chosen(told: Mapping[str, object]) -> list[Webhook]:
    """Return the named webhook, or all.

    :raise LookupError: there is no such webhook.
    """
    named = told.get("webhook")
    if named in (None, ""):
        if not memory().webhooks.all():
            raise LookupError("There is no webhook.")
        return memory().webhooks.all()

    return [memory().webhooks.find(validation.whole_number("webhook", named, low=1, high=10**9))]
