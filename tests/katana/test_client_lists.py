"""Katana's API: lists are read page after page."""

from collections.abc import Iterator
from itertools import islice
from urllib.parse import parse_qs, urlsplit

import pytest

from app.errors import (
    ApiBusy,
    ApiRefused,
)
from app.katana.client import BUSY_SECONDS, KatanaApi, new_session
from app.katana.oauth import KatanaLogin, new_code_verifier
from app.settings.config import load
from tests.support.katana_api import Tokens, says
from tests.support.sandbox import Sandbox
from tests.support.wire import Wire


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
