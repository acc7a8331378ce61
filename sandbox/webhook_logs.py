"""POST /v1/webhook_logs_export: the posts to a factory's webhooks, as a CSV file."""

import csv
import io
import secrets
from collections.abc import Iterator, Mapping

from flask import Blueprint, Response, abort, jsonify, request

from sandbox.api import add_limit_headers, count_request, refuse
from sandbox.deliveries import Delivery
from sandbox.refusals import ApiRefusal, invalid_query
from sandbox.state import memory

bp = Blueprint("webhook_logs", __name__)
bp.register_error_handler(ApiRefusal, refuse)
bp.after_request(add_limit_headers)

_COLUMNS = ("webhook_id", "event", "status_code", "delivered", "created_at")
_FILTERS = ("webhook_id", "event", "status_code", "delivered", "created_at_min", "created_at_max")


@bp.post("/v1/webhook_logs_export")
def export() -> Response:
    """Return the URL of a file with every attempt that passes the filters.

    :raise ApiRefusal: 401, 422 or 429.
    """
    factory = count_request()
    asked = request.get_json(silent=True)
    if not isinstance(asked, dict) or asked.keys() - set(_FILTERS):
        raise invalid_query("", "additionalProperties", "should NOT have additional properties")

    name = secrets.token_urlsafe(16)
    memory().exports[name] = _written(factory, asked)
    return jsonify(url=f"{request.host_url}webhook_logs/{name}.csv")


@bp.get("/webhook_logs/<name>.csv")
def file(name: str) -> Response:
    """Return a file to anyone who knows its URL, as object stores do."""
    if name not in memory().exports:
        abort(404)

    return Response(memory().exports[name], content_type="text/csv")


def _written(factory: str, asked: Mapping[str, object]) -> str:
    ours = {webhook.id for webhook in memory().webhooks.all(factory)}
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS)
    writer.writeheader()
    for delivery in memory().deliveries.all():
        if delivery.webhook in ours:
            writer.writerows(row for row in _rows(delivery) if _passes(row, asked))
    return out.getvalue()


def _rows(delivery: Delivery) -> Iterator[dict[str, object]]:
    for attempt in delivery.attempts:
        delivered = attempt.status is not None and 200 <= attempt.status < 300
        told = (delivery.webhook, delivery.action, attempt.status, delivered, attempt.at)
        yield dict(zip(_COLUMNS, told, strict=True))


def _passes(row: Mapping[str, object], asked: Mapping[str, object]) -> bool:
    at = str(row["created_at"])
    if not str(asked.get("created_at_min", "")) <= at <= str(asked.get("created_at_max", at)):
        return False

    return all(row[name] == value for name, value in asked.items() if name in row)
