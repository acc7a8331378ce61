"""Katana's API: what is taken for a record, and what for nonsense."""

import logging
import traceback
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import (
    ApiError,
    ApiUnavailable,
)
from app.katana.client import RESPONSE_BYTES, KatanaApi
from tests.support.katana_api import FIRST, RENEWED, reads, reads_lists, says
from tests.support.wire import Wire


@reads
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<h1>Please wait</h1>",
        b"\xff\xfe",
        b"{",
        b"[" * 100_000,
        b'{"data": ' + b"1" * 5000 + b"}",
        b"null",
        b"5",
        b'"text"',
    ],
    ids=lambda body: str(body)[:40],
)
@pytest.mark.usefixtures("no_collection")
def test_nonsense_is_no_record(
    katana: Wire, api: KatanaApi, read: Callable[[KatanaApi], object], body: bytes
) -> None:
    """S-81: what is no JSON, or no record, is told by one error."""
    says(katana, body)

    with pytest.raises(ApiUnavailable):
        read(api)


def test_a_body_too_large_is_unavailable(katana: Wire, api: KatanaApi) -> None:
    """S-28: an answer beyond any page of Katana's is not read."""
    says(katana, b'{"display_name": "' + b"x" * RESPONSE_BYTES + b'"}')

    with pytest.raises(ApiUnavailable):
        api.factory()


@reads_lists
@pytest.mark.parametrize(
    "records",
    [
        {},
        {"data": None},
        {"data": {}},
        {"data": "text"},
        {"data": [5]},
        {"data": [None]},
        {"data": [{}]},
        [{}],
        [[]],
        {"data": [{"id": None, "variant_id": None}]},
        {"data": [{"id": "five", "variant_id": "five"}]},
        {"data": [{"id": [], "variant_id": []}]},
        {"data": [{"id": float("nan"), "variant_id": float("nan")}]},
        {"data": [{"id": float("inf"), "variant_id": float("inf")}]},
    ],
    ids=str,
)
def test_a_record_must_have_what_tells_it_from_others(
    katana: Wire, api: KatanaApi, read: Callable[[KatanaApi], object], records: object
) -> None:
    """A list without records, or a record without its id, is told by one error."""
    says(katana, records)

    with pytest.raises(ApiUnavailable):
        read(api)


ODD = [
    {"id": None, "variant_id": None},
    {"id": "five", "variant_id": "five"},
    {"id": True, "variant_id": True},
    {"id": 1.5, "variant_id": 1.5},
    {"id": -1, "variant_id": -1},
    {"id": "9" * 30, "variant_id": "9" * 30},
    {"id": {}, "variant_id": {}},
    {},
    None,
    5,
    "text",
    [],
]


@reads_lists
@pytest.mark.parametrize("odd", ODD, ids=str)
def test_one_odd_record_costs_that_record(
    katana: Wire, api: KatanaApi, read: Callable[[KatanaApi], tuple[object, ...]], odd: object
) -> None:
    """S-81: the records beside it are shown. Of the same kind: any shape that is no record."""
    good = {"id": 1, "variant_id": 1}
    says(katana, {"data": [good, odd, {"id": "2", "variant_id": "2"}]})

    assert len(read(api)) == 2


def test_an_id_is_the_same_as_number_and_as_text(katana: Wire, api: KatanaApi) -> None:
    """Katana sends numbers as text in places: `"5"` is 5."""
    says(katana, {"data": [{"id": "1", "customer_id": "5"}]})

    (order,) = api.sales_orders(1)

    assert (order.id, order.customer_id) == (1, 5)


@pytest.mark.parametrize("control", "\u202e\u202a\u2066\u2069\u200f\u061c")
def test_a_name_reorders_no_text_around_it(katana: Wire, api: KatanaApi, control: str) -> None:
    """Bidirectional controls are dropped; letters of a language written right to left stay."""
    says(katana, {"data": [{"id": 1, "name": f"Ada{control} \u05d0\u05d1"}]})

    (customer,) = api.customers([1])

    assert customer.name == "Ada \u05d0\u05d1"


@pytest.mark.parametrize("variants", [5, "text", [5], [{}], [{"id": None}], {"id": 5}])
def test_a_product_with_broken_variants_is_no_product(
    katana: Wire, api: KatanaApi, variants: object
) -> None:
    """What is inside a record is read as carefully as the record."""
    says(katana, [{"id": 1, "variants": variants}])

    with pytest.raises(ApiUnavailable):
        api.products(1)


@reads_lists
def test_a_record_needs_no_more_than_its_id(
    katana: Wire, api: KatanaApi, read: Callable[[KatanaApi], tuple[object, ...]]
) -> None:
    """A field that is left out, or null, costs its place on the page and not the page."""
    says(katana, {"data": [{"id": 1, "variant_id": 1}]})
    assert len(read(api)) == 1

    nulls = dict.fromkeys(("customer_id", "total", "order_created_date", "variants", "name"))
    says(katana, {"data": [{"id": 1, "variant_id": 1, **nulls}]})
    assert len(read(api)) == 1


@pytest.mark.parametrize("total", [12.5, "12.5", "12.50000"])
def test_sums_are_numbers_or_text(katana: Wire, api: KatanaApi, total: object) -> None:
    """Katana's reference shows both; both become the same Decimal."""
    says(katana, {"data": [{"id": 1, "total": total}]})

    (order,) = api.sales_orders(1)

    assert order.total == Decimal("12.5")


@pytest.mark.parametrize("total", [None, "", "much", "NaN", "Infinity", [], {}])
def test_what_is_no_sum_is_none(katana: Wire, api: KatanaApi, total: object) -> None:
    """A sum that cannot be read is left out, not guessed."""
    says(katana, {"data": [{"id": 1, "total": total}]})

    (order,) = api.sales_orders(1)

    assert order.total is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = ("id", "variant_id", "total", "customer_id", "name", "variants", "created_at", "uom")
records = st.fixed_dictionaries({}, optional={name: json_values for name in FIELDS})


@reads
def test_any_record_is_read_or_told_by_one_error(
    katana: Wire, api: KatanaApi, read: Callable[[KatanaApi], object]
) -> None:
    """Over all of JSON, in every field, no other exception comes out."""

    @given(records | st.lists(records, max_size=2) | json_values)
    def comes(body: object) -> None:
        says(katana, {"data": body} if isinstance(body, list) else body)
        with suppress(ApiUnavailable):
            read(api)

    comes()


@reads
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 429, 500])
def test_no_token_is_in_a_log_or_an_error(
    katana: Wire,
    api: KatanaApi,
    caplog: pytest.LogCaptureFixture,
    read: Callable[[KatanaApi], object],
    status: int,
) -> None:
    """S-37, S-39: at DEBUG, and when Katana repeats the token in its answer."""
    caplog.set_level(logging.DEBUG)
    says(katana, f"Bearer {FIRST} {RENEWED}".encode(), status=status)

    with pytest.raises(ApiError) as told:
        read(api)

    said = "".join(traceback.format_exception(told.value)) + caplog.text + repr(api)
    assert FIRST not in said
    assert RENEWED not in said
