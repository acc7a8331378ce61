"""Katana's API: one request, one retry after a 401, pages, and what every answer is taken for."""

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from itertools import islice
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import (
    ApiBusy,
    ApiError,
    ApiForbidden,
    ApiRefused,
    ApiUnauthorized,
    ApiUnavailable,
    ReconnectNeeded,
)
from app.katana.client import BUSY_SECONDS, RESPONSE_BYTES, KatanaApi, new_session
from app.katana.oauth import KatanaLogin, new_code_verifier
from app.settings.config import load
from tests.support.sandbox import Sandbox
from tests.support.wire import Peer, Wire, answer, answering, wire

FIRST, RENEWED = "canary-access-81", "canary-access-82"


class Tokens:
    """Gives the first token, and another for the one that is refused; keeps what it was asked."""

    def __init__(self, first: str = FIRST, renewed: str = RENEWED) -> None:
        self.asked: list[str | None] = []
        self._first = first
        self._renewed = renewed

    def __call__(self, refused: str | None = None) -> str:
        self.asked.append(refused)
        return self._renewed if refused == self._first else self._first


@pytest.fixture(scope="module")
def katana() -> Iterator[Wire]:
    """Katana's API, which answers as it is told to."""
    with wire(answering(answer())) as server:
        yield server


@pytest.fixture
def tokens() -> Tokens:
    """What gives access tokens."""
    return Tokens()


@pytest.fixture
def api(katana: Wire, tokens: Tokens) -> Iterator[KatanaApi]:
    """What asks it."""
    katana.heard.clear()
    with new_session() as session:
        yield KatanaApi(f"{katana.url}/v1", session, tokens)
        katana.hang_up()


def says(katana: Wire, *bodies: object, status: int = 200, **headers: str) -> None:
    """Let Katana answer these in turn: bytes as they are, anything else as JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    data = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies]
    katana.script = answering(*(answer(body, status, named) for body in data))


def refuses(*statuses: int) -> Callable[[Peer], object]:
    """Answers with these statuses in turn."""
    return answering(*(answer(b"{}", status) for status in statuses))


def test_the_token_travels_as_a_bearer(katana: Wire, api: KatanaApi, tokens: Tokens) -> None:
    """S-36: in the Authorization header and nowhere else; JSON is asked for."""
    says(katana, {"display_name": "Oak & Ash", "base_currency_code": "EUR"})

    assert api.factory().name == "Oak & Ash"

    (heard,) = katana.heard
    assert (heard.method, heard.target) == ("GET", "/v1/factory")
    assert heard.headers["authorization"] == f"Bearer {FIRST}"
    assert heard.headers["accept"] == "application/json"
    assert tokens.asked == [None]


def test_after_a_401_it_is_sent_once_more_with_a_token_renewed(
    katana: Wire, api: KatanaApi, tokens: Tokens
) -> None:
    """The refused token is named, so that one renewal serves all who had it."""
    katana.script = refuses(401, 200)

    api.request("GET", "/factory")

    assert tokens.asked == [None, FIRST]
    assert [heard.headers["authorization"] for heard in katana.heard] == [
        f"Bearer {FIRST}",
        f"Bearer {RENEWED}",
    ]


def test_a_second_401_is_the_end(katana: Wire, api: KatanaApi, tokens: Tokens) -> None:
    """A fresh token that is refused as well is told, not tried again."""
    katana.script = refuses(401)

    with pytest.raises(ApiUnauthorized):
        api.request("GET", "/factory")

    assert len(katana.heard) == 2
    assert tokens.asked == [None, FIRST]


def test_a_grant_that_has_ended_is_told_as_such(katana: Wire) -> None:
    """What the giver of tokens raises reaches the caller; nothing is sent without a token."""
    katana.script = refuses(200)
    katana.heard.clear()

    def ended(refused: str | None = None) -> str:
        raise ReconnectNeeded("grant_ended")

    with new_session() as session, pytest.raises(ReconnectNeeded):
        KatanaApi(f"{katana.url}/v1", session, ended).factory()

    assert katana.heard == []


def test_a_refused_post_is_sent_again_with_its_body(katana: Wire, api: KatanaApi) -> None:
    """A request that was refused has done nothing, so that it may be repeated."""
    katana.script = refuses(401, 200)

    api.request("POST", "/customers", body={"name": "Ada"})

    assert [json.loads(heard.body) for heard in katana.heard] == [{"name": "Ada"}] * 2


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("status", [302, 307, 400, 403, 404, 409, 422, 429, 500, 502, 503])
def test_nothing_else_is_sent_twice(katana: Wire, api: KatanaApi, method: str, status: int) -> None:
    """R-16: one layer repeats, for one reason: else an order could be placed twice."""
    katana.script = refuses(status, 200)

    with pytest.raises(ApiError):
        api.request(method, "/customers")

    assert len(katana.heard) == 1


def answers_once(peer: Peer) -> None:
    """Keep the connection, and close it when it is used again."""
    peer.hear()
    peer.send(answer(b"{}"))
    peer.hear()


def test_a_connection_closed_meanwhile_is_not_noticed(katana: Wire, api: KatanaApi) -> None:
    """Katana may close what was kept at any time: what only reads is asked for once more."""
    katana.script = answers_once

    for _ in range(3):
        assert api.request("GET", "/factory").status_code == 200


def test_a_post_on_a_connection_closed_meanwhile_is_not_sent_again(
    katana: Wire, api: KatanaApi
) -> None:
    """It may have arrived before the connection was closed: the caller decides."""
    katana.script = answers_once
    api.request("POST", "/customers")

    with pytest.raises(ApiUnavailable):
        api.request("POST", "/customers")

    assert len(katana.heard) == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_lost_answer_is_not_asked_for_again(katana: Wire, api: KatanaApi, method: str) -> None:
    """Whether it was done nobody knows here: the caller decides."""

    def hears_and_crashes(peer: Peer) -> None:
        peer.hear()
        peer.reset()

    katana.script = hears_and_crashes

    with pytest.raises(ApiUnavailable):
        api.request(method, "/customers")

    assert len(katana.heard) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (300, ApiUnavailable),
        (400, ApiRefused),
        (401, ApiUnauthorized),
        (403, ApiForbidden),
        (404, ApiRefused),
        (409, ApiRefused),
        (422, ApiRefused),
        (429, ApiBusy),
        (500, ApiUnavailable),
        (502, ApiUnavailable),
        (503, ApiUnavailable),
        (504, ApiUnavailable),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"statusCode": 1, "name": "SuchError", "message": "canary-access-81"}},
        {"statusCode": 1, "name": "SuchError", "message": "canary-access-81"},
    ],
    ids=["wrapped", "flat"],
)
def test_a_refusal_is_told_by_its_status_and_name(
    katana: Wire, api: KatanaApi, status: int, body: object, error: type[ApiError]
) -> None:
    """Katana publishes two shapes of error: both give the name, neither the message."""
    says(katana, body, status=status)

    with pytest.raises(ApiError) as told:
        api.request("POST", "/customers")

    assert type(told.value) is error
    assert str(told.value) == f"POST /customers: Katana answered {status} SuchError"


def test_what_katana_refuses_keeps_its_status(katana: Wire, api: KatanaApi) -> None:
    """A caller can tell a 404 from a 422."""
    says(katana, {"error": {"name": "NotFoundError"}}, status=404)

    with pytest.raises(ApiRefused) as told:
        api.request("GET", "/customers/5")

    assert told.value.status == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<h1>Bad gateway</h1>",
        b"null",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        {"error": "canary-access-81"},
        {"error": {"name": "canary-access-81"}},
        {"name": "break\r\nout"},
        {"name": ["NotFoundError"]},
        {"name": "x" * 10_000},
    ],
    ids=lambda body: str(body)[:40],
)
@pytest.mark.usefixtures("no_collection")
def test_a_refusal_without_a_name_is_told_by_its_status(
    katana: Wire, api: KatanaApi, body: object
) -> None:
    """S-37: what is no plain word is not repeated."""
    says(katana, body, status=400)

    with pytest.raises(ApiRefused) as told:
        api.request("GET", "/factory")

    assert str(told.value) == "GET /factory: Katana answered 400"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("1", 1),
        ("60", 60),
        (None, BUSY_SECONDS),
        ("-1", BUSY_SECONDS),
        ("soon", BUSY_SECONDS),
        ("Fri, 31 Dec 2100 23:59:59 GMT", BUSY_SECONDS),
        ("9" * 50, 999_999),
    ],
)
def test_too_many_requests_say_how_long_to_wait(
    katana: Wire, api: KatanaApi, header: str | None, seconds: float
) -> None:
    """R-11: what Retry-After says, else the whole of Katana's window."""
    says(katana, b"{}", status=429, **({"Retry_After": header} if header else {}))

    with pytest.raises(ApiBusy) as told:
        api.factory()

    assert told.value.retry_after == seconds


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_not_believed(
    katana: Wire, api: KatanaApi, status: int
) -> None:
    """S-26: the token goes to no other place, and a redirect's body is no record."""
    with wire(answering(answer(b'{"display_name": "Other"}'))) as other:
        record = {"display_name": "Moved"}
        says(katana, record, status=status, Location=f"{other.url}/v1/factory")
        with pytest.raises(ApiUnavailable):
            api.factory()

    assert other.peers == []


def test_a_closed_port_is_unavailable(api: KatanaApi, tokens: Tokens) -> None:
    """Katana that cannot be reached is no refusal."""
    with wire(answering(answer())) as server:
        url = server.url

    with new_session() as session, pytest.raises(ApiUnavailable, match="GET /factory: NeverSent"):
        KatanaApi(url, session, tokens).factory()


READ: dict[str, Callable[[KatanaApi], object]] = {
    "factory": lambda api: api.factory(),
    "sales_orders": lambda api: api.sales_orders(5),
    "customers": lambda api: api.customers([1, 2]),
    "products": lambda api: api.products(5),
    "stock": lambda api: api.stock([1, 2]),
}
reads = pytest.mark.parametrize("read", READ.values(), ids=list(READ))
reads_lists = pytest.mark.parametrize("read", list(READ.values())[1:], ids=list(READ)[1:])


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


@pytest.fixture
def connected_api(sandbox: Sandbox, redirect_uri: str) -> Iterator[KatanaApi]:
    """Katana's API as the sandbox plays it, for somebody who is connected."""
    environ = sandbox.settings() | {
        "KATANA_REDIRECT_URI": redirect_uri,
        "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz",
        "TOKEN_ENCRYPTION_KEYS": "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    }
    settings = load(environ).katana
    login, verifier = KatanaLogin(settings), new_code_verifier()
    callback = sandbox.approve(login.authorization_url("state", verifier))
    (code,) = parse_qs(urlsplit(callback.url).query)["code"]
    grant = login.exchange(code, verifier)
    assert grant.access_token
    with new_session() as session:
        yield KatanaApi(settings.api_base_url, session, Tokens(grant.access_token))


def test_a_list_is_read_page_after_page(sandbox: Sandbox, connected_api: KatanaApi) -> None:
    """More than nine pages, counted in text: "10" is more than "9"."""
    sandbox.rules(requests_per_minute=1000)
    whole = list(connected_api.records("/sales_orders"))

    paged = list(connected_api.records("/sales_orders", limit=1))

    assert len(whole) > 9
    assert paged == whole
    assert len(sandbox.ledger().of("api")) == 1 + len(whole)


def test_a_page_is_asked_for_when_it_is_needed(sandbox: Sandbox, connected_api: KatanaApi) -> None:
    """Katana's minute has few requests: who needs three records asks for no fourth page."""
    connected_api.sales_orders(3)
    first_two = islice(connected_api.records("/inventory", limit=1), 2)

    assert len(list(first_two)) == 2
    assert len(sandbox.ledger().of("api")) == 1 + 2


def test_nobody_is_asked_about_nothing(katana: Wire, api: KatanaApi) -> None:
    """No ids are no request: without them Katana would answer with everything."""
    assert api.customers([]) == ()
    assert api.stock([]) == ()

    assert katana.heard == []


def test_several_ids_go_in_one_request(sandbox: Sandbox, connected_api: KatanaApi) -> None:
    """The customers of many orders are looked up at once, and only those."""
    orders = connected_api.sales_orders(8)
    ids = sorted({order.customer_id for order in orders if order.customer_id})

    customers = connected_api.customers(ids)

    assert sorted(customer.id for customer in customers) == ids
    assert len(sandbox.ledger().of("api")) == 2


@pytest.mark.parametrize("shape", ["wrapped", "flat"])
def test_the_sandbox_is_understood_in_both_shapes(
    sandbox: Sandbox, connected_api: KatanaApi, shape: str
) -> None:
    """The errors that Katana publishes come out alike, whichever shape it sends."""
    sandbox.rules(error_shape=shape)

    with pytest.raises(ApiRefused, match="GET /nothing: Katana answered 404 NotFoundError"):
        connected_api.request("GET", "/nothing")
    sandbox.rules(requests_per_minute=0)
    with pytest.raises(ApiBusy) as told:
        connected_api.factory()
    assert 0 < told.value.retry_after <= BUSY_SECONDS


@pytest.mark.parametrize(
    "pagination",
    [
        None,
        "",
        "no JSON",
        "[]",
        "null",
        "5",
        "{}",
        '{"total_pages": null}',
        '{"total_pages": "many"}',
        '{"total_pages": []}',
        '{"total_pages": 1e400}',
        '{"total_pages": -1}',
        "[" * 30_000,
    ],
    ids=lambda pagination: str(pagination)[:40],
)
@pytest.mark.usefixtures("no_collection")
def test_without_a_number_of_pages_one_is_all(
    katana: Wire, api: KatanaApi, pagination: str | None
) -> None:
    """What X-Pagination does not say in a number is not guessed."""
    headers = {} if pagination is None else {"X_Pagination": pagination}
    says(katana, {"data": [{"id": 1}]}, **headers)

    assert list(api.records("/customers")) == [{"id": 1}]
    assert len(katana.heard) == 1


def test_an_empty_page_is_the_last(katana: Wire, api: KatanaApi) -> None:
    """A number of pages that is too high costs one request, not a million."""
    says(katana, [{"id": 1}], [], X_Pagination='{"total_pages": "1000000"}')

    assert list(api.records("/customers")) == [{"id": 1}]
    assert len(katana.heard) == 2


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
