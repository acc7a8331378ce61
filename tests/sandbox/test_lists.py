"""The sandbox's lists change while they are read, as Katana's do, and tell what has changed."""

import json
import re
from datetime import timedelta
from decimal import Decimal

import pytest

FACTORY = "alder-and-spoke"


@pytest.fixture
def grant(partner) -> dict:
    return partner.connect(FACTORY)


def listed(partner, grant, path: str) -> list[dict]:
    answer = partner.read(path, grant)
    assert answer.status_code == 200, answer.text

    return answer.json()["data"]


def happen(partner, what: str, **details) -> list[dict]:
    answer = partner.post("/happen", json={"what": what, "factory": FACTORY, **details})
    assert answer.status_code == 200, answer.text

    return answer.json().get("happened", [])


def moment(partner) -> str:
    """The sandbox's present, as Katana writes moments."""
    return partner.clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize("name", ["sales_orders", "customers", "products", "variants"])
def test_what_changed_is_found_by_its_moment(partner, grant, name):
    """`updated_at_min` finds what has changed, `updated_at_max` leaves it out, on every list."""
    everything = listed(partner, grant, f"{name}?limit=250")
    partner.clock.sleep(60)
    (changed,) = happen(partner, "change", resource=name, record=everything[-1]["id"])

    found = listed(partner, grant, f"{name}?updated_at_min={moment(partner)}")

    assert [each["id"] for each in found] == [changed["id"]]
    assert found[0]["updated_at"] == changed["updated_at"] == moment(partner)
    assert found[0]["created_at"] == everything[-1]["created_at"]
    before = listed(
        partner, grant, f"{name}?limit=250&updated_at_max={everything[0]['updated_at']}"
    )
    assert changed["id"] not in [each["id"] for each in before]
    assert before


@pytest.mark.parametrize("field", ["created_at", "updated_at"])
def test_both_ends_of_a_window_belong_to_it(partner, grant, field):
    """A record dated exactly at an end of the window is in it."""
    orders = listed(partner, grant, "sales_orders?limit=250")
    low, high = orders[9][field], orders[4][field]

    found = listed(partner, grant, f"sales_orders?{field}_min={low}&{field}_max={high}")

    assert [each["id"] for each in found] == [each["id"] for each in orders[4:10]]


def test_a_deleted_record_is_shown_on_request_only(partner, grant):
    """`include_deleted` shows it, with `deleted_at`, at the moment of its deletion."""
    before = listed(partner, grant, "sales_orders?limit=250")
    partner.clock.sleep(60)
    (deleted,) = happen(partner, "delete_order", record=before[7]["id"])

    assert before[7]["id"] not in [
        e["id"] for e in listed(partner, grant, "sales_orders?limit=250")
    ]
    query = f"include_deleted=true&updated_at_min={moment(partner)}"
    (shown,) = listed(partner, grant, f"sales_orders?{query}")
    assert shown["id"] == deleted["id"]
    assert shown["deleted_at"] == shown["updated_at"] == moment(partner)
    assert "deleted_at" not in listed(partner, grant, "sales_orders?limit=1")[0]


def test_stock_has_no_moment_and_is_read_whole_or_by_variant(partner, grant):
    """A filter by moment is ignored for stock, which has none."""
    whole = listed(partner, grant, "inventory")
    (moved,) = happen(partner, "stock_moves", record=whole[3]["variant_id"])

    again = listed(partner, grant, "inventory?updated_at_min=2100-01-01T00:00:00Z")
    assert len(again) == len(whole)
    (row,) = listed(partner, grant, f"inventory?variant_id={moved['id']}")
    assert row["quantity_in_stock"] != whole[3]["quantity_in_stock"]
    assert "updated_at" not in row


def test_lists_are_newest_first_by_the_moment_that_the_rules_name(partner, grant):
    """By creation, or by change, where a change moves a record to the first page."""
    orders = listed(partner, grant, "sales_orders?limit=250")
    happen(partner, "change_order", record=orders[-1]["id"])
    partner.clock.sleep(1)
    happen(partner, "new_order")

    by_creation = listed(partner, grant, "sales_orders?limit=250")
    assert [each["id"] for each in by_creation[1:]] == [each["id"] for each in orders]
    partner.rules(list_order="updated_at")
    assert listed(partner, grant, "sales_orders?limit=2")[1]["id"] == orders[-1]["id"]


def test_a_change_can_come_between_two_pages(partner, grant):
    """It comes after so many requests for one list; other lists do not count."""
    happen(partner, "new_order", after_lists=2, resource="sales_orders")

    pages = []
    for page in (1, 2, 3):
        partner.read("customers", grant)  # another list does not count
        pages.append(listed(partner, grant, f"sales_orders?limit=20&page={page}"))

    ids = [[each["id"] for each in page] for page in pages]
    assert ids[1][-1] == ids[2][0], "the new order has moved the rest one place down"
    header = partner.read("sales_orders", grant).headers["X-Pagination"]
    assert json.loads(header)["total_records"] == "65"


def test_a_transaction_may_show_late_what_it_dates_early(partner, grant):
    """A record can appear behind a cursor that has already passed its moment."""
    (late,) = happen(partner, "new_order", late=5)

    moments = timedelta(seconds=5)
    since = (partner.clock.now() - moments).isoformat(timespec="milliseconds")
    assert late["updated_at"] == since.replace("+00:00", "Z")
    assert not listed(partner, grant, f"sales_orders?updated_at_min={moment(partner)}")


def test_two_changes_of_a_record_never_have_the_same_moment(partner, grant):
    """Even within one millisecond each change is newer than the last."""
    (first,) = happen(partner, "new_order")
    moments = [
        happen(partner, "change_order", record=first["id"])[0]["updated_at"] for _ in range(3)
    ]

    assert sorted({first["updated_at"], *moments}) == [first["updated_at"], *moments]


def test_a_factory_grows_to_any_size(partner, grant):
    """Ten thousand orders come at once, each with an id of its own."""
    answer = partner.post("/grow", json={"resource": "sales_orders", "count": 10_000, "days": 300})
    assert answer.json() == {"grown": 10_000}
    partner.post("/grow", json={"resource": "customers", "count": 1_000})

    page = partner.read("sales_orders?limit=400&page=41", grant)
    assert json.loads(page.headers["X-Pagination"])["total_records"] == "10064"
    assert len(page.json()["data"]) == 64
    ids = {
        each["id"]
        for n in range(1, 42)
        for each in listed(partner, grant, f"sales_orders?limit=250&page={n}")
    }
    assert len(ids) == 10_064
    first = json.loads(partner.read("customers", grant).headers["X-Pagination"])
    assert first["total_records"] == "1008"


def test_an_odd_record_is_shown_as_told_until_it_is_mended(partner, grant):
    """Null ids, wrong types, missing fields and records that are no objects."""
    odd = {"fields": {"id": None, "total": "a lot"}, "omit": ["status"]}
    (injected,) = happen(partner, "inject", resource="sales_orders", **odd)
    happen(partner, "inject", resource="inventory", raw="nonsense")

    shown = listed(partner, grant, "sales_orders")[0]
    assert (shown["id"], shown["total"], "status" in shown) == (None, "a lot", False)
    assert listed(partner, grant, "inventory")[-1] == "nonsense"

    happen(partner, "mend", resource="sales_orders", serial=injected["serial"])
    assert listed(partner, grant, "sales_orders")[0]["id"] == injected["id"]


def test_the_truth_is_all_that_the_lists_show(partner, grant):
    """What a copy is compared with is what the API would have told it."""
    happen(partner, "busy_day", times=2)
    happen(partner, "delete", resource="customers")
    happen(partner, "rename_factory", fields={"display_name": "Alder & Daughters"})

    truth = partner.get(f"/truth/{FACTORY}").json()

    assert truth["factory"]["display_name"] == "Alder & Daughters"
    for name in ("sales_orders", "customers", "inventory", "variants", "products"):
        shown = listed(partner, grant, f"{name}?limit=250&include_deleted=true")
        key = "variant_id" if name == "inventory" else "id"
        assert sorted(truth[name], key=lambda each: each[key]) == sorted(
            shown, key=lambda each: each[key]
        )
    assert [each["deleted_at"] is not None for each in truth["customers"]].count(True) == 1


def test_two_factories_share_their_name_and_ids(partner, grant):
    """The same id at the same moment is another order there, which no key but the account tells."""
    twin = partner.connect("alder-and-spoke-rentals")

    names = [partner.read("factory", each).json()["display_name"] for each in (grant, twin)]
    assert names[0] == names[1]
    ours, theirs = (listed(partner, each, "sales_orders?limit=250") for each in (grant, twin))
    assert [(e["id"], e["updated_at"]) for e in ours] == [
        (e["id"], e["updated_at"]) for e in theirs
    ]
    assert all(one["total"] != other["total"] for one, other in zip(ours, theirs, strict=True))


def test_a_change_whose_record_has_gone_is_left_out(partner, grant):
    """What waits for a list request does not spoil its answer."""
    (order,) = happen(partner, "new_order")
    happen(partner, "change_order", record=order["id"], after_lists=1)
    happen(partner, "new_customer", after_lists=1)
    happen(partner, "delete_order", record=order["id"])

    listed(partner, grant, "sales_orders")
    assert len(listed(partner, grant, "customers")) == 9


def test_starting_again_takes_back_every_change(partner, grant):
    """After a reset each factory is as it was at the start."""
    before = partner.get(f"/truth/{FACTORY}").json()
    happen(partner, "busy_day")
    partner.post("/reset")

    assert partner.get(f"/truth/{FACTORY}").json() == before


def test_an_order_is_created_as_often_as_it_is_sent(partner, grant):
    """There is no idempotency key: the same `order_no` twice is two orders."""
    bearer = {"Authorization": f"Bearer {grant['access_token']}"}
    variant = listed(partner, grant, "variants")[0]["id"]
    rows = [{"variant_id": variant, "quantity": 3, "price_per_unit": 12.5}]
    customer = listed(partner, grant, "customers")[0]["id"]
    order = {"order_no": "WEB-7", "customer_id": customer, "sales_order_rows": rows}

    answers = [partner.post("/v1/sales_orders", json=order, headers=bearer) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["total"] == 37.5
    found = listed(partner, grant, "sales_orders?order_no=WEB-7")
    assert {each["id"] for each in found} == {answer.json()["id"] for answer in answers}
    assert len(found) == 2


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"order_no": None}, ".order_no"),
        ({"customer_id": 999}, ".customer_id"),
        ({"customer_id": "1070"}, ".customer_id"),
        ({"sales_order_rows": []}, ".sales_order_rows"),
        ({"sales_order_rows": [{"variant_id": 1}]}, ".sales_order_rows[0]"),
        ({"status": "DELIVERED"}, ".status"),
        ({"surprise": 1}, ""),
    ],
)
def test_an_order_that_does_not_fit_is_unprocessable(partner, grant, change, path):
    """The refusal names the field, and nothing is created."""
    bearer = {"Authorization": f"Bearer {grant['access_token']}"}
    rows = [{"variant_id": listed(partner, grant, "variants")[0]["id"], "quantity": 1}]
    customer = listed(partner, grant, "customers")[0]["id"]
    order = {"order_no": "WEB-8", "customer_id": customer, "sales_order_rows": rows}

    answer = partner.post("/v1/sales_orders", json=order | change, headers=bearer)

    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["path"] == path
    assert not listed(partner, grant, "sales_orders?order_no=WEB-8")


def test_prices_of_rows_are_text_and_quantities_numbers(partner, grant):
    """As Katana's published schema has it: on orders from the start, sent, changed and by row."""
    bearer = {"Authorization": f"Bearer {grant['access_token']}"}
    variant = listed(partner, grant, "variants")[0]["id"]
    sent = [{"variant_id": variant, "quantity": 2, "price_per_unit": price} for price in (12.5, 7)]
    customer = listed(partner, grant, "customers")[0]["id"]
    order = {"order_no": "WEB-9", "customer_id": customer, "sales_order_rows": sent}
    created = partner.post("/v1/sales_orders", json=order, headers=bearer).json()
    happen(partner, "change_order", record=created["id"])
    happen(partner, "new_order")

    orders = listed(partner, grant, "sales_orders?limit=250")
    rows = [row for order in orders for row in order["sales_order_rows"]]

    for row in rows + listed(partner, grant, "sales_order_rows?limit=250"):
        assert re.fullmatch(r"\d+\.\d{10}", row["price_per_unit"]), row
        assert re.fullmatch(r"\d+\.\d{10}", row["price_per_unit_in_base_currency"]), row
        assert type(row["quantity"]) in (int, float), row
        assert Decimal(row["price_per_unit"]) * row["quantity"] == Decimal(str(row["total"]))


@pytest.mark.parametrize(
    "name", ["sales_orders", "sales_order_rows", "variants", "customers", "products"]
)
def test_one_record_is_read_by_its_id(partner, grant, name):
    """It is as in the list, without `data` around it; what is not there is 404.

    Of the same kind: an id of another factory, of a deleted record, and one that is no number.
    """
    everything = listed(partner, grant, f"{name}?limit=250")
    found = partner.read(f"{name}/{everything[3]['id']}", grant)

    assert found.status_code == 200
    assert found.json() == everything[3]
    assert found.headers["X-Ratelimit-Limit"]
    for wrong in ("999999999", "0", "-1", "x", f"{everything[3]['id']}/x"):
        refused = partner.read(f"{name}/{wrong}", grant)
        assert refused.status_code == 404
        assert refused.json()["error"]["name"] == "NotFoundError"
    stranger = {"access_token": "nobody's"}
    assert partner.read(f"{name}/{everything[3]['id']}", stranger).status_code == 401


def test_a_deleted_order_is_not_read_by_its_id(partner, grant):
    """Neither it nor its rows; the list shows its rows with `include_deleted`."""
    order = listed(partner, grant, "sales_orders")[2]
    row = order["sales_order_rows"][0]["id"]
    happen(partner, "delete_order", record=order["id"])

    assert partner.read(f"sales_orders/{order['id']}", grant).status_code == 404
    assert partner.read(f"sales_order_rows/{row}", grant).status_code == 404
    assert not listed(partner, grant, f"sales_order_rows?ids={row}")
    (shown,) = listed(partner, grant, f"sales_order_rows?ids={row}&include_deleted=true")
    assert shown["sales_order_id"] == order["id"]


def test_rows_are_found_by_order_and_by_variant(partner, grant):
    """The rows of all orders are a list of their own, with filters and pages."""
    rows = listed(partner, grant, "sales_order_rows?limit=250")
    order, variant = rows[0]["sales_order_id"], rows[0]["variant_id"]

    of_order = listed(partner, grant, f"sales_order_rows?sales_order_ids={order}&limit=250")
    of_variant = listed(partner, grant, f"sales_order_rows?variant_id={variant}&limit=250")

    assert of_order == [row for row in rows if row["sales_order_id"] == order]
    assert of_variant == [row for row in rows if row["variant_id"] == variant]
    assert listed(partner, grant, "sales_order_rows?limit=5&page=2") == rows[5:10]


@pytest.mark.parametrize(
    "query",
    [
        "updated_at_min=yesterday",
        "updated_at_max=",
        "created_at_max=12",
        "include_deleted=perhaps",
    ],
)
def test_a_filter_that_makes_no_sense_is_unprocessable(partner, grant, query):
    """A moment that is none, and a flag that is none."""
    assert partner.read(f"sales_orders?{query}", grant).status_code == 422


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/happen", {"what": "rain"}),
        ("/happen", {"what": "new_order", "colour": "red"}),
        ("/happen", {"what": "new_order", "factory": "nowhere"}),
        ("/happen", {"what": "delete_order", "record": 1}),
        ("/happen", {"what": "inject"}),
        ("/happen", {"what": "mend", "resource": "sales_orders", "serial": 1}),
        ("/grow", {"resource": "users", "count": 5}),
        ("/grow", {"resource": "sales_orders", "count": 0}),
        ("/grow", {}),
    ],
)
def test_what_cannot_happen_is_refused_with_a_sentence(partner, path, body):
    """Controls refuse what they do not know, in words."""
    answer = partner.post(path, json=body)

    assert answer.status_code in (400, 404)
    assert answer.json()["error"].endswith(".")


def test_a_fault_can_pick_its_request(partner, grant):
    """By method and path, and after some were let by."""
    fault = {"on": "api", "fault": "status", "status": 500, "path": "/v1/sales_orders"}
    partner.arm(**fault, method="GET", skip=1)

    statuses = [
        partner.read(path, grant).status_code
        for path in ("customers", "sales_orders", "sales_orders?page=2", "sales_orders")
    ]

    assert statuses == [200, 200, 500, 200]


def test_the_end_of_the_window_may_be_told_in_seconds(partner, grant):
    """Katana's page says milliseconds and shows seconds, so both exist."""
    ends = partner.clock.now().timestamp() + 60
    assert partner.read("factory", grant).headers["X-Ratelimit-Reset"] == str(int(ends * 1000))
    partner.rules(ratelimit_reset="s")
    assert partner.read("factory", grant).headers["X-Ratelimit-Reset"] == str(int(ends))
