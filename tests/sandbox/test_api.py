"""The sandbox's API has Katana's shapes, limits and errors."""

import json
import re

import pytest


def test_an_access_token_lives_for_a_minute(sandbox_server):
    """After sixty seconds the API answers 401 in Katana's words."""
    grant = sandbox_server.connect()
    sandbox_server.clock.sleep(59)
    assert sandbox_server.read("factory", grant).status_code == 200

    sandbox_server.clock.sleep(1)
    refused = sandbox_server.read("factory", grant)
    assert refused.status_code == 401
    assert refused.json() == {
        "error": {"statusCode": 401, "name": "UnauthorizedError", "message": "Unauthorized"}
    }


def test_errors_of_the_api_come_flat_by_rule(sandbox_server):
    """Katana publishes a second shape; the same members without the wrapper."""
    sandbox_server.rules(error_shape="flat")
    refused = sandbox_server.get("/v1/factory")

    assert refused.json() == {
        "statusCode": 401,
        "name": "UnauthorizedError",
        "message": "Unauthorized",
    }


def test_each_consent_reads_its_own_factory(sandbox_server):
    """Three factories, three sets of data, and no id in /factory."""
    names, orders = set(), set()
    for key in ("alder-and-spoke", "tallow-and-wick", "first-light"):
        grant = sandbox_server.connect(key)
        factory = sandbox_server.read("factory", grant).json()
        names.add(factory["display_name"])
        page = sandbox_server.read("sales_orders?limit=250", grant).json()["data"]
        orders |= {order["id"] for order in page}
        assert "id" not in factory

    assert len(names) == 3
    assert len(orders) == 3 * 64


def test_lists_come_in_pages_whose_header_holds_strings(sandbox_server):
    """X-Pagination is one JSON object, all of its values strings, as on Katana's wire."""
    grant = sandbox_server.connect()
    pages = [sandbox_server.read(f"sales_orders?limit=30&page={n}", grant) for n in (1, 2, 3, 4)]

    assert [len(page.json()["data"]) for page in pages] == [30, 30, 4, 0]
    assert json.loads(pages[1].headers["X-Pagination"]) == {
        "total_records": "64",
        "total_pages": "3",
        "offset": "30",
        "page": "2",
        "first_page": "false",
        "last_page": "false",
    }
    assert json.loads(pages[2].headers["X-Pagination"])["last_page"] == "true"
    dates = [order["created_at"] for page in pages for order in page.json()["data"]]
    assert dates == sorted(dates, reverse=True)


def test_filters_narrow_a_list(sandbox_server):
    """ids and variant_id repeat, created_at_min is a date; other names are ignored."""
    grant = sandbox_server.connect()
    orders = sandbox_server.read("sales_orders", grant).json()["data"]
    wanted = [orders[3]["id"], orders[7]["id"]]
    by_id = sandbox_server.read(f"sales_orders?ids={wanted[0]}&ids={wanted[1]}", grant)
    since = f"sales_orders?created_at_min={orders[4]['created_at']}&unknown=1"
    variant = orders[0]["sales_order_rows"][0]["variant_id"]
    stock = sandbox_server.read(f"inventory?variant_id={variant}", grant).json()["data"]

    assert [order["id"] for order in by_id.json()["data"]] == wanted
    assert len(sandbox_server.read(since, grant).json()["data"]) == 5
    assert [row["variant_id"] for row in stock] == [variant]
    assert re.fullmatch(r"\d+\.\d{5}", stock[0]["quantity_in_stock"])


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "page=-1", "ids=x", "created_at_min=x"])
def test_a_malformed_query_is_unprocessable(sandbox_server, query):
    """422 names the parameter in its details."""
    refused = sandbox_server.read(f"sales_orders?{query}", sandbox_server.connect())

    assert refused.status_code == 422
    [detail] = refused.json()["error"]["details"]
    assert detail["path"] == "." + query.partition("=")[0]


@pytest.mark.parametrize(
    "name", ["customers", "products", "variants", "inventory", "locations", "users"]
)
def test_every_list_has_something_to_show(sandbox_server, name):
    """A connected app finds no empty shelf."""
    answer = sandbox_server.read(name, sandbox_server.connect())

    assert answer.json()["data"]
    assert "X-Pagination" in answer.headers


def test_what_the_api_does_not_have_is_not_found(sandbox_server):
    """An unknown path, and any other method, answer 404 in Katana's words."""
    grant = sandbox_server.connect()
    unknown = sandbox_server.read("robots", grant)
    headers = {"Authorization": f"Bearer {grant['access_token']}"}
    written = sandbox_server.post("/v1/factory", headers=headers, json={})

    assert unknown.json()["error"]["name"] == "NotFoundError"
    assert [unknown.status_code, written.status_code] == [404, 404]


def test_sixty_requests_a_minute_and_no_more(sandbox_server):
    """The limit is per family; headers count down, and Retry-After is when it opens again."""
    sandbox_server.rules(access_token_seconds=600)
    grant, other = sandbox_server.connect(), sandbox_server.connect()
    first = sandbox_server.read("factory", grant)
    sandbox_server.clock.sleep(20)
    for _ in range(59):
        last = sandbox_server.read("factory", grant)
    refused = sandbox_server.read("factory", grant)

    assert first.headers["X-Ratelimit-Limit"] == "60"
    assert first.headers["X-Ratelimit-Remaining"] == "59"
    assert last.headers["X-Ratelimit-Remaining"] == "0"
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "40")
    assert refused.json()["error"]["name"] == "TooManyRequests"
    assert sandbox_server.read("factory", other).status_code == 200
    reset = int(refused.headers["X-Ratelimit-Reset"]) / 1000
    assert reset == sandbox_server.clock.now().timestamp() + 40

    sandbox_server.clock.sleep(40)
    assert sandbox_server.read("factory", grant).status_code == 200
