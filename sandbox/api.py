"""GET /v1/...: the part of Katana's API that reads records."""

import json
from collections.abc import Sequence
from math import ceil

from flask import Blueprint, Response, g, jsonify, request
from werkzeug.datastructures import MultiDict

from sandbox.filters import matching, whole_number_in_query
from sandbox.limits import Allowance
from sandbox.middleware import bearer_token, note
from sandbox.order_rows import rows_of
from sandbox.record_templates import Record
from sandbox.records import Kept
from sandbox.refusals import ApiRefusal, api_refusal
from sandbox.seed_records import Stock
from sandbox.state import memory

bp = Blueprint("api", __name__, url_prefix="/v1")

_MOST_PER_PAGE = 250
_ALL_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@bp.get("/factory")
def factory() -> Response:
    """Return the object that describes the account; it has no id."""
    return jsonify(_stock().factory)


@bp.get("/sales_order_rows")
def sales_order_rows() -> Response:
    """Return one page of the rows of all orders, those of the newest order first."""
    orders = matching(_stock().lists["sales_orders"].ordered(), _deleted_or_not())
    page = page_of(matching((row for order in orders for row in rows_of(order)), request.args))
    memory().schedule.listed(g.factory, "sales_order_rows")
    return page


@bp.get("/<any(sales_orders, sales_order_rows, variants, customers, products):name>/<record_id>")
def one(name: str, record_id: str) -> Response:
    """Return one record; 404 if it is unknown or deleted, or if the id is not a number."""
    lists = _stock().lists
    living: list[Kept] | list[Record]
    if name == "sales_order_rows":
        orders = matching(lists["sales_orders"].ordered(), MultiDict())
        living = [row for order in orders for row in rows_of(order)]
    else:
        living = matching(lists[name].ordered(), MultiDict())
    for each in living:
        if str(each.get("id")) == record_id:
            return jsonify(each.record if isinstance(each, Kept) else each)

    raise api_refusal(404)


@bp.route("/<path:name>", methods=_ALL_METHODS)
def listing(name: str) -> Response:
    """Return one page of a list; an unknown path is 404 for every method."""
    lists = _stock().lists
    if request.method != "GET" or name not in lists:
        raise api_refusal(404)

    page = page_of(matching(lists[name].ordered(memory().rules.list_order), request.args))
    memory().schedule.listed(g.factory, name)
    return page


@bp.errorhandler(ApiRefusal)
def refuse(refusal: ApiRefusal) -> Response:
    """Return a refusal in the shape that the rules set."""
    note(error=refusal.name)
    return refusal.answer(memory().rules.error_shape)


@bp.after_request
def add_limit_headers(response: Response) -> Response:
    """Add the headers of the rate limit to every response."""
    allowance: Allowance = g.get("allowance") or memory().limits.untouched(
        memory().rules.requests_per_minute
    )
    response.headers["X-Ratelimit-Limit"] = str(allowance.limit)
    response.headers["X-Ratelimit-Remaining"] = str(allowance.remaining)
    in_seconds = memory().rules.ratelimit_reset == "s"
    reset = allowance.reset_ms // 1000 if in_seconds else allowance.reset_ms
    response.headers["X-Ratelimit-Reset"] = str(reset)
    if allowance.exceeded:
        response.headers["Retry-After"] = str(allowance.wait)
    return response


def count_request() -> str:
    """Return the key of the factory that the bearer may read, and count the request.

    :raise ApiRefusal: 401 for a token that is not valid now, 429 over the limit.
    """
    family, is_good = memory().families.bearer(bearer_token())
    if family is not None:
        note(family=family.id)
    if family is None or not is_good:
        raise api_refusal(401)

    g.allowance = memory().limits.count(family.id, memory().rules.requests_per_minute)
    if g.allowance.exceeded:
        raise api_refusal(429)
    return family.factory


def _stock() -> Stock:
    """Return the records of the factory that the bearer may read; raises as `count_request`."""
    g.factory = count_request()
    return memory().lives[g.factory].stock


def _deleted_or_not() -> MultiDict[str, str]:
    """Return `include_deleted`, the only filter of rows that applies to their order."""
    deleted = request.args.getlist("include_deleted")
    return MultiDict([("include_deleted", text) for text in deleted])


def page_of(records: Sequence[Kept | Record]) -> Response:
    """Return the requested page; a limit above 250 is silently reduced to 250."""
    limit = min(whole_number_in_query("limit", 50, request.args), _MOST_PER_PAGE)
    page = whole_number_in_query("page", 1, request.args)
    pages = max(1, ceil(len(records) / limit))
    offset = (page - 1) * limit

    shown = records[offset : offset + limit]
    response = jsonify(data=[each.record if isinstance(each, Kept) else each for each in shown])
    # Every value is a string, as Katana sends it, although its reference says otherwise.
    response.headers["X-Pagination"] = json.dumps(
        {
            "total_records": str(len(records)),
            "total_pages": str(pages),
            "offset": str(offset),
            "page": str(page),
            "first_page": str(page == 1).lower(),
            "last_page": str(page >= pages).lower(),
        }
    )
    return response
