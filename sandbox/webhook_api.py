"""/v1/webhooks: how an app registers, reads, changes and deletes the webhooks of a factory."""

from flask import Blueprint, Response, g, jsonify, request

from sandbox.api import add_limit_headers, count_request, page_of, refuse
from sandbox.filters import matching
from sandbox.middleware import note
from sandbox.refusals import ApiRefusal, api_refusal, invalid_query
from sandbox.state import memory
from sandbox.webhook_rules import checked
from sandbox.webhooks import Webhook

bp = Blueprint("webhook_api", __name__, url_prefix="/v1/webhooks")
bp.register_error_handler(ApiRefusal, refuse)
bp.after_request(add_limit_headers)


@bp.before_request
def admit() -> None:
    """Check the permission for webhooks: `role` allows only to read them, `plan` allows nothing.

    :raise ApiRefusal: 401 and 429 as for all requests, 403.
    """
    g.factory = count_request()
    rule = memory().rules.webhooks
    if rule == "plan" or (rule == "role" and request.method != "GET"):
        note(remark=f"webhooks are refused: {rule}")
        raise api_refusal(403)


@bp.post("")
def create() -> Response:
    """Register a webhook; the response has the token that will sign its deliveries."""
    asked = checked(_sent(), memory().rules, whole=True)
    if len(memory().webhooks.all(g.factory)) >= memory().rules.webhooks_most:
        raise invalid_query("", "maxItems", "too many webhooks")
    webhook = memory().webhooks.add(g.factory, request.host_url.rstrip("/"), asked)
    note(remark=f"webhook {webhook.id} made")
    return jsonify(webhook.as_json())


@bp.get("")
def listing() -> Response:
    """Return one page of the factory's webhooks, including those of other apps."""
    webhooks = [webhook.as_json() for webhook in memory().webhooks.all(g.factory)]
    for name in ("url", "enabled"):
        if name in request.args:
            webhooks = [each for each in webhooks if _as_text(each[name]) == request.args[name]]
    return page_of(matching(webhooks, request.args))


@bp.get("/<int:webhook_id>")
def one(webhook_id: int) -> Response:
    """Return one webhook."""
    return jsonify(_found(webhook_id).as_json())


@bp.patch("/<int:webhook_id>")
def change(webhook_id: int) -> Response:
    """Change some fields of a webhook."""
    _found(webhook_id)
    asked = checked(_sent(), memory().rules, whole=False)
    note(remark=f"webhook {webhook_id} changed")
    return jsonify(memory().webhooks.change(webhook_id, asked).as_json())


@bp.delete("/<int:webhook_id>")
def delete(webhook_id: int) -> Response:
    """Delete a webhook; its waiting deliveries are dropped."""
    memory().webhooks.delete(_found(webhook_id).id)
    note(remark=f"webhook {webhook_id} deleted")
    return Response(status=204)


def _found(webhook_id: int) -> Webhook:
    """Return a webhook of the factory that the bearer may read.

    :raise ApiRefusal: 404, it does not exist, or it is another factory's.
    """
    try:
        webhook = memory().webhooks.find(webhook_id)
    except LookupError:
        raise api_refusal(404) from None
    if webhook.factory != g.factory:
        raise api_refusal(404)

    return webhook


def _sent() -> object:
    sent: object = request.get_json(silent=True)
    if sent is None:
        raise api_refusal(400)

    return sent


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
