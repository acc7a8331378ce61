"""POST /v1/sales_orders: create an order. Katana has no idempotency keys."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, jsonify, request

from sandbox.api import add_limit_headers, count_request, refuse
from sandbox.factory_simulation import Life
from sandbox.record_templates import Record
from sandbox.refusals import ApiRefusal, api_refusal, invalid_query
from sandbox.state import memory, sandbox
from sandbox.webhook_dispatch import announce

bp = Blueprint("order_api", __name__, url_prefix="/v1/sales_orders")
bp.register_error_handler(ApiRefusal, refuse)
bp.after_request(add_limit_headers)

_NEEDED = ("order_no", "customer_id", "sales_order_rows")
_TEXTS = (
    *("additional_info", "customer_ref", "currency", "delivery_date", "order_created_date"),
    *("ecommerce_order_type", "ecommerce_store_name", "ecommerce_order_id", "source"),
)
_KNOWN = {*_NEEDED, *_TEXTS, "location_id", "status", "tracking_number", "tracking_number_url"}
_ROW_KNOWN = {"variant_id", "quantity", "price_per_unit", "tax_rate_id", "location_id"}


@bp.post("")
def create() -> Response:
    """Create an order, even if its `order_no` exists: the app has to check this first."""
    life = memory().lives[count_request()]
    sent = request.get_json(silent=True)
    if sent is None:
        raise api_refusal(400)
    _check(sent, life)

    happened = life.new_order(sandbox().clock.now(), *_fields(sent))
    for event in happened.events:
        announce(memory(), life.factory.key, event)
    return jsonify(happened.kept.record)


def _check(sent: object, life: Life) -> None:
    """Refuse what Katana would not accept.

    :raise ApiRefusal: 422, with the first field that is wrong.
    """
    order = _object("", sent, _NEEDED, _KNOWN)
    if not isinstance(order["order_no"], str) or not order["order_no"]:
        raise invalid_query(".order_no", "type", "should be string")
    for name in _TEXTS:
        if not isinstance(order.get(name, ""), str | None):
            raise invalid_query(f".{name}", "type", "should be string")
    if order.get("status", "NOT_SHIPPED") not in ("NOT_SHIPPED", "PENDING"):
        raise invalid_query(".status", "enum", "should be equal to one of the allowed values")
    _check_known(".customer_id", order["customer_id"], life, "customers")
    if not isinstance(order["sales_order_rows"], list) or not order["sales_order_rows"]:
        raise invalid_query(".sales_order_rows", "minItems", "should NOT have fewer than 1 items")
    for place, sent_row in enumerate(order["sales_order_rows"]):
        path = f".sales_order_rows[{place}]"
        row = _object(path, sent_row, ("variant_id", "quantity"), _ROW_KNOWN)
        _check_known(f"{path}.variant_id", row["variant_id"], life, "variants")
        for name in ("quantity", "price_per_unit"):
            _check_number(f"{path}.{name}", row.get(name, 0))


def _object(path: str, sent: object, needed: tuple[str, ...], known: set[str]) -> Mapping[str, Any]:
    if not isinstance(sent, dict):
        raise invalid_query(path, "type", "should be object")
    for name in needed:
        if name not in sent:
            raise invalid_query(path, "required", f"should have required property '{name}'")
    if sent.keys() - known:
        raise invalid_query(path, "additionalProperties", "should NOT have additional properties")

    return sent


def _check_number(path: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e12:
        raise invalid_query(path, "type", "should be number")


def _check_known(path: str, record_id: object, life: Life, resource: str) -> None:
    if isinstance(record_id, bool) or not isinstance(record_id, int):
        raise invalid_query(path, "type", "should be integer")
    try:
        is_there = life.list(resource).find(record_id).deleted_at is None
    except LookupError:
        is_there = False
    if not is_there:
        raise invalid_query(path, "exists", "should be the id of something that exists")


def _fields(sent: Mapping[str, Any]) -> tuple[Record, list[Record]]:
    """Return an order's own fields and its rows."""
    fields = {name: value for name, value in sent.items() if name != "sales_order_rows"}
    return {"source": "api"} | fields, list(sent["sales_order_rows"])
