"""Katana's API: one request, one retry after a 401, and what each refusal is taken for."""

import json

import pytest

from app.errors import (
    ApiBusy,
    ApiError,
    ApiForbidden,
    ApiRefused,
    ApiUnauthorized,
    ApiUnavailable,
    ReconnectNeeded,
)
from app.katana.client import BUSY_SECONDS, KatanaApi, new_session
from tests.support.katana_api import FIRST, RENEWED, Tokens, refuses, says
from tests.support.wire import Peer, Wire, answer, answering, wire


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
