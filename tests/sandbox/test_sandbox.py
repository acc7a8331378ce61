"""The sandbox keeps the promises of Katana's login and API, and its faults strike for real."""

import json
import re
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import pytest
import requests

from app.settings.config import ROOT
from sandbox.__main__ import main
from sandbox.ledger import Entry, Ledger
from tests.support.partner import (
    CHALLENGE,
    CLIENT_ID,
    CLIENT_SECRET,
    REDIRECT_URI,
    VERIFIER,
    Partner,
    answer_in,
    partner_of_a_sandbox,
)
from tests.support.servers import reserved_port

FORM = {"Content-Type": "application/x-www-form-urlencoded"}

PRESSED = (
    *("/rules", "/faults", "/faults/clear", "/kill", "/reset"),
    *("/happen", "/grow", "/webhooks", "/webhooks/foreign", "/deliver", "/deliveries/hurry"),
)

BAD_REFRESH_TOKEN = {
    "error": "invalid_grant",
    "error_description": "Unknown or invalid refresh token.",
}
BAD_CODE = {"error": "invalid_grant", "error_description": "Invalid authorization code"}
WRONG_CLIENT = {"error": "access_denied", "error_description": "Unauthorized"}


@pytest.fixture
def sandbox_server() -> Iterator[Partner]:
    """A sandbox of its own for each test, served on a free port."""
    with partner_of_a_sandbox() as partner:
        yield partner


def test_a_code_becomes_a_grant_in_auth0s_shape(sandbox_server):
    """The whole flow ends in exactly the five documented fields."""
    location = sandbox_server.press("approve").headers["Location"]
    answer = answer_in(location)
    grant = sandbox_server.exchange(answer["code"]).json()

    assert set(answer) == {"code", "state"}
    assert answer["state"] == "state-of-the-tests"
    assert set(grant) == {
        "access_token",
        "refresh_token",
        "scope",
        "expires_in",
        "token_type",
    }
    assert (grant["scope"], grant["expires_in"], grant["token_type"]) == (
        "offline_access",
        60,
        "Bearer",
    )


def test_cancel_sends_back_access_denied_with_the_state(sandbox_server):
    """Whoever cancels is sent back without a code."""
    answer = answer_in(sandbox_server.press("cancel").headers["Location"])

    assert answer["error"] == "access_denied"
    assert answer["state"] == "state-of-the-tests"
    assert "code" not in answer


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "somebody-else"},
        {"client_id": None},
        {"client_id": [CLIENT_ID, CLIENT_ID]},
        {"redirect_uri": REDIRECT_URI + "/"},
        {"redirect_uri": REDIRECT_URI + "?next=elsewhere"},
        {"redirect_uri": None},
        {"redirect_uri": [REDIRECT_URI, "http://localhost:8000/"]},
    ],
)
def test_a_wrong_client_or_redirect_uri_is_never_redirected(sandbox_server, changes):
    """The browser stays on a page of the sandbox when the way back cannot be trusted."""
    answer = sandbox_server.ask(**changes)

    assert answer.status_code == 400
    assert "Location" not in answer.headers


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"audience": "https://api.example.com"}, "access_denied"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"state": None}, "invalid_request"),
        ({"state": ["one", "two"]}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"screen_hint": "signup"}, "invalid_request"),
    ],
)
def test_any_other_wrong_parameter_is_told_to_the_app(sandbox_server, changes, error):
    """A mistake of the right client goes back through its redirect URI."""
    answer = answer_in(sandbox_server.ask(**changes).headers["Location"])

    assert answer["error"] == error
    assert "code" not in answer


def test_a_consent_page_is_answered_once(sandbox_server):
    """Pressing Approve again, after going back, gives no second code."""
    page = sandbox_server.ask().text
    transaction = re.search(r'name="transaction" value="([^"]+)"', page)[1]
    form = {"transaction": transaction, "factory": "first-light", "decision": "approve"}
    first, second = [sandbox_server.post("/authorize/decision", data=form) for _ in range(2)]

    assert first.status_code == 302
    assert second.status_code == 400


def test_the_consent_page_lets_its_form_lead_back_to_the_app(sandbox_server):
    """Chromium checks form-action against the redirect too, so the app's origin is in it."""
    policy = sandbox_server.ask().headers["Content-Security-Policy"]

    assert "form-action 'self' http://localhost:8000;" in policy
    assert "unsafe" not in policy


def test_the_callback_may_be_posted(sandbox_server):
    """With the rule on, the answer is a form that posts itself to the redirect URI."""
    sandbox_server.rules(callback_method="post")
    page = sandbox_server.press("approve")

    assert page.status_code == 200
    assert f'method="post" action="{REDIRECT_URI}"' in page.text
    assert 'name="state" value="state-of-the-tests"' in page.text
    assert "Continue</button>" in page.text
    code = re.search(r'name="code" value="([^"]+)"', page.text)[1]
    assert sandbox_server.exchange(code).status_code == 200


def test_iss_is_sent_only_by_rule(sandbox_server):
    """RFC 9207's parameter is off by default, as at Auth0."""
    sandbox_server.rules(send_iss=True)
    answer = answer_in(sandbox_server.press("approve").headers["Location"])

    assert answer["iss"] == sandbox_server.url + "/"


def test_a_code_works_once_and_its_tokens_survive_the_second_use(sandbox_server):
    """A used code is invalid_grant; as at Auth0 nothing is revoked by it."""
    code = sandbox_server.code()
    grant = sandbox_server.exchange(code).json()
    again = sandbox_server.exchange(code)

    assert (again.status_code, again.json()) == (403, BAD_CODE)
    assert sandbox_server.refresh(grant["refresh_token"]).status_code == 200


def test_a_code_lives_for_a_minute(sandbox_server):
    """After sixty seconds a code is as good as none."""
    young, old = sandbox_server.code(), sandbox_server.code()
    sandbox_server.clock.sleep(59)
    assert sandbox_server.exchange(young).status_code == 200

    sandbox_server.clock.sleep(1)
    assert sandbox_server.exchange(old).json() == BAD_CODE


def test_a_code_is_bound_to_its_redirect_uri(sandbox_server):
    """Another redirect URI at the exchange is a wrong code."""
    answer = sandbox_server.exchange(sandbox_server.code(), redirect_uri=REDIRECT_URI + "/")

    assert (answer.status_code, answer.json()) == (403, BAD_CODE)


@pytest.mark.parametrize("verifier", ["x" * 50, "", CHALLENGE])
def test_the_verifier_must_fit_the_challenge(sandbox_server, verifier):
    """Without the right PKCE verifier a code is worth nothing, and is used up."""
    code = sandbox_server.code()
    refused = sandbox_server.exchange(code, code_verifier=verifier)

    assert refused.status_code == 403
    assert refused.json()["error"] == "invalid_grant"
    assert sandbox_server.exchange(code).json() == BAD_CODE


def test_pkce_is_used_on_both_ends_or_on_none(sandbox_server):
    """A flow without PKCE works; a verifier nobody announced is refused."""
    without = {"code_challenge": None, "code_challenge_method": None}
    plain = sandbox_server.exchange(sandbox_server.code(**without), code_verifier="")
    unannounced = sandbox_server.exchange(sandbox_server.code(**without))

    assert plain.status_code == 200
    assert unannounced.json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "wrong", [{"client_secret": "guess"}, {"client_id": "guess"}, {"client_id": "gæt"}]
)
def test_a_wrong_client_is_denied_and_nothing_is_spent(sandbox_server, wrong):
    """Wrong credentials are a fault of configuration: the refresh token stays good."""
    grant = sandbox_server.connect()
    refused = sandbox_server.refresh(grant["refresh_token"], **wrong)

    assert (refused.status_code, refused.json()) == (401, WRONG_CLIENT)
    assert sandbox_server.refresh(grant["refresh_token"]).status_code == 200


def test_the_secret_belongs_in_the_body(sandbox_server):
    """A Basic header is the wrong way to authenticate, even with the right secret."""
    body = {"grant_type": "refresh_token", "refresh_token": "any"}
    basic = (CLIENT_ID, CLIENT_SECRET)
    refused = sandbox_server.post("/oauth/token", data=body, auth=basic)

    assert (refused.status_code, refused.json()) == (401, WRONG_CLIENT)


@pytest.mark.parametrize("name", ["client_id", "client_secret", "grant_type", "refresh_token"])
@pytest.mark.parametrize("given", [None, "", ["one", "two"]])
def test_a_parameter_is_given_exactly_once(sandbox_server, name, given):
    """What is missing, empty or repeated is an invalid request."""
    fields = {"refresh_token": "any", name: given}
    if name != "grant_type":
        fields["grant_type"] = "refresh_token"
    if name == "grant_type" and isinstance(given, list):
        fields["grant_type"] = ["refresh_token", "refresh_token"]
    refused = sandbox_server.token(**fields)

    assert refused.status_code == 400
    assert refused.json()["error"] == "invalid_request"


def test_each_refresh_spends_the_token_it_uses(sandbox_server):
    """Rotation: each answer carries a new refresh token, and the chain goes on."""
    grant = sandbox_server.connect()
    second = sandbox_server.refresh(grant["refresh_token"]).json()
    third = sandbox_server.refresh(second["refresh_token"]).json()

    assert len({grant["refresh_token"], second["refresh_token"], third["refresh_token"]}) == 3
    [family] = sandbox_server.ledger()["families"]
    assert [link["state"] for link in family["refresh_tokens"]] == ["spent", "spent", "current"]


def test_a_spent_token_that_returns_kills_the_family_and_its_access_tokens(sandbox_server):
    """Reuse ends everything that grew out of the consent, and only that."""
    grant, other = sandbox_server.connect(), sandbox_server.connect("first-light")
    fresh = sandbox_server.refresh(grant["refresh_token"]).json()
    reused = sandbox_server.refresh(grant["refresh_token"])

    assert (reused.status_code, reused.json()) == (403, BAD_REFRESH_TOKEN)
    assert sandbox_server.refresh(fresh["refresh_token"]).json() == BAD_REFRESH_TOKEN
    assert sandbox_server.read("factory", fresh).status_code == 401
    assert sandbox_server.read("factory", other).status_code == 200
    killed, living = sandbox_server.ledger()["families"]
    assert (killed["state"], killed["reason"], living["state"]) == ("dead", "reuse", "live")
    assert [link["state"] for link in killed["refresh_tokens"]] == ["spent", "killed"]
    assert {access["state"] for access in killed["access_tokens"]} == {"killed"}


def test_many_who_refresh_at_once_have_one_winner(sandbox_server):
    """However many send the same token together, one is served and the family dies."""
    token = sandbox_server.connect()["refresh_token"]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: sandbox_server.refresh(token), range(16)))

    assert sorted(answer.status_code for answer in answers) == [200] + [403] * 15
    [family] = sandbox_server.ledger()["families"]
    assert family["reason"] == "reuse"
    assert family["refresh_tokens"][0]["presented"] == 16


def test_in_the_overlap_the_previous_token_gives_a_fresh_one(sandbox_server):
    """A lost answer is healed by sending the previous token again, while the window is open."""
    sandbox_server.rules(rotation_overlap_seconds=30)
    grant = sandbox_server.connect()
    first = sandbox_server.refresh(grant["refresh_token"]).json()
    sandbox_server.clock.sleep(29)
    second = sandbox_server.refresh(grant["refresh_token"]).json()

    assert second["refresh_token"] not in (grant["refresh_token"], first["refresh_token"])
    assert sandbox_server.refresh(second["refresh_token"]).status_code == 200


def test_after_the_overlap_the_previous_token_is_reuse(sandbox_server):
    """The window closes, and then a spent token kills again."""
    sandbox_server.rules(rotation_overlap_seconds=30)
    grant = sandbox_server.connect()
    sandbox_server.refresh(grant["refresh_token"])
    sandbox_server.clock.sleep(30)

    assert sandbox_server.refresh(grant["refresh_token"]).json() == BAD_REFRESH_TOKEN
    assert sandbox_server.ledger()["families"][0]["reason"] == "reuse"


def test_in_the_overlap_the_token_before_the_previous_is_reuse(sandbox_server):
    """Only the immediately previous token is forgiven."""
    sandbox_server.rules(rotation_overlap_seconds=30)
    grant = sandbox_server.connect()
    second = sandbox_server.refresh(grant["refresh_token"]).json()
    sandbox_server.refresh(second["refresh_token"])

    assert sandbox_server.refresh(grant["refresh_token"]).json() == BAD_REFRESH_TOKEN
    assert sandbox_server.ledger()["families"][0]["reason"] == "reuse"


def test_another_redirect_uri_at_refresh_spends_nothing(sandbox_server):
    """A wrong setting is an invalid request, not a dead grant."""
    grant = sandbox_server.connect()
    refused = sandbox_server.refresh(grant["refresh_token"], redirect_uri="http://localhost/")

    assert refused.json()["error"] == "invalid_request"
    assert sandbox_server.refresh(grant["refresh_token"]).status_code == 200


def test_revoking_ends_the_family_and_never_tells_whether_there_was_one(sandbox_server):
    """A known and an unknown token get the same empty 200."""
    grant = sandbox_server.connect()
    body = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    answers = [
        sandbox_server.post("/oauth/revoke", data=body | {"token": token})
        for token in (grant["refresh_token"], "never-issued")
    ]

    assert [(answer.status_code, answer.text) for answer in answers] == [(200, "")] * 2
    assert sandbox_server.refresh(grant["refresh_token"]).json() == BAD_REFRESH_TOKEN
    assert sandbox_server.ledger()["families"][0]["reason"] == "revoked"


def test_revoking_needs_the_client_secret(sandbox_server):
    """Nobody else can end a connection."""
    body = {"client_id": CLIENT_ID, "client_secret": "guess", "token": "any"}
    refused = sandbox_server.post("/oauth/revoke", data=body)

    assert (refused.status_code, refused.json()) == (401, WRONG_CLIENT)


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


def test_a_lost_answer_is_lost_after_the_token_was_spent(sandbox_server):
    """The connection closes without an answer, and the sent token is reuse from now on."""
    grant = sandbox_server.connect()
    sandbox_server.arm(on="refresh", fault="lose_answer")
    with pytest.raises(requests.ConnectionError):
        sandbox_server.refresh(grant["refresh_token"])

    [family] = sandbox_server.ledger()["families"]
    assert [link["state"] for link in family["refresh_tokens"]] == ["spent", "current"]
    last = sandbox_server.ledger()["requests"][-1]
    assert (last["status"], last["fault"]) == (200, "lose_answer")
    assert sandbox_server.refresh(grant["refresh_token"]).json() == BAD_REFRESH_TOKEN


def test_a_dropped_request_changes_nothing(sandbox_server):
    """The connection closes before any work, and the token is still good."""
    grant = sandbox_server.connect()
    sandbox_server.arm(on="token", fault="drop_before")
    with pytest.raises(requests.ConnectionError):
        sandbox_server.refresh(grant["refresh_token"])

    assert sandbox_server.ledger()["requests"][-1]["status"] is None
    assert sandbox_server.refresh(grant["refresh_token"]).status_code == 200


def test_a_slow_answer_waits_and_comes(sandbox_server):
    """Slow means late, not wrong."""
    grant = sandbox_server.connect()
    before = sandbox_server.clock.now()
    sandbox_server.arm(on="refresh", fault="slow", seconds=7)

    assert sandbox_server.refresh(grant["refresh_token"]).status_code == 200
    assert (sandbox_server.clock.now() - before).total_seconds() == 7


def test_a_dripping_answer_takes_half_a_second_a_byte(sandbox_server):
    """The whole answer arrives, one byte at a time."""
    grant = sandbox_server.connect()
    before = sandbox_server.clock.now()
    sandbox_server.arm(on="refresh", fault="drip")
    answer = sandbox_server.refresh(grant["refresh_token"])

    assert answer.json()["token_type"] == "Bearer"
    waited = (sandbox_server.clock.now() - before).total_seconds()
    assert waited == len(answer.content) * 0.5


def test_a_redirect_keeps_its_location_and_does_no_work(sandbox_server):
    """307 would carry a secret along: a client that follows it can be caught."""
    grant = sandbox_server.connect()
    sandbox_server.arm(on="refresh", fault="redirect", location="http://127.0.0.1:9/elsewhere")
    answer = sandbox_server.refresh(grant["refresh_token"])

    assert answer.status_code == 307
    assert answer.headers["Location"] == "http://127.0.0.1:9/elsewhere"
    assert sandbox_server.refresh(grant["refresh_token"]).status_code == 200


def test_fields_can_be_omitted_from_a_good_answer(sandbox_server):
    """The rest of the answer is left as it was."""
    grant = sandbox_server.connect()
    sandbox_server.arm(on="refresh", fault="omit", fields=["refresh_token", "expires_in"])
    answer = sandbox_server.refresh(grant["refresh_token"]).json()

    assert set(answer) == {"access_token", "scope", "token_type"}


def test_any_body_can_stand_in_for_an_answer(sandbox_server):
    """A proxy's web page, say, where JSON was expected."""
    sandbox_server.arm(on="exchange", fault="body", text="<p>hello", content_type="text/html")
    answer = sandbox_server.exchange("any")

    assert (answer.status_code, answer.text) == (200, "<p>hello")
    assert answer.headers["Content-Type"].startswith("text/html")


def test_a_spurious_invalid_grant_changes_nothing(sandbox_server):
    """The refusal is a lie; the next refresh works."""
    grant = sandbox_server.connect()
    sandbox_server.arm(on="refresh", fault="invalid_grant")

    assert sandbox_server.refresh(grant["refresh_token"]).json() == BAD_REFRESH_TOKEN
    assert sandbox_server.refresh(grant["refresh_token"]).status_code == 200


@pytest.mark.parametrize(("on", "status"), [("refresh", 503), ("refresh", 429), ("api", 500)])
def test_a_status_strikes_as_often_as_armed(sandbox_server, on, status):
    """Two times means two times, with the Retry-After that was asked for."""
    grant = sandbox_server.connect()
    sandbox_server.arm(on=on, fault="status", status=status, times=2, retry_after="15")
    send = {
        "refresh": lambda: sandbox_server.refresh(grant["refresh_token"]),
        "api": lambda: sandbox_server.read("factory", grant),
    }[on]
    answers = [send() for _ in range(3)]

    assert [answer.status_code for answer in answers] == [status, status, 200]
    assert answers[0].headers["Retry-After"] == "15"


def test_a_fault_without_a_count_lasts_until_cleared(sandbox_server):
    """Times 0 is for ever; DELETE /faults ends it."""
    grant = sandbox_server.connect()
    sandbox_server.arm(on="api", fault="status", status=503, times=0)
    assert {sandbox_server.read("factory", grant).status_code for _ in range(3)} == {503}

    requests.delete(f"{sandbox_server.url}/faults", timeout=10)
    assert sandbox_server.read("factory", grant).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/rules", {"error_shape": "round"}),
        ("/rules", {"access_token_seconds": -1}),
        ("/rules", {"access_token_seconds": True}),
        ("/rules", {"gravity": 9}),
        ("/faults", {"on": "refresh"}),
        ("/faults", {"on": "refresh", "fault": "earthquake"}),
        ("/faults", {"on": "api", "fault": "invalid_grant"}),
        ("/faults", {"on": "api", "fault": "status", "status": "nan"}),
        ("/faults", {"on": "api", "fault": "omit", "fields": 7}),
        ("/faults", {"on": "api", "fault": "body", "color": "red"}),
    ],
)
def test_nonsense_is_refused_with_a_sentence(sandbox_server, path, body):
    """A test that misspells a rule or a fault fails at once, not later."""
    refused = sandbox_server.post(path, json=body)

    assert refused.status_code == 400
    assert refused.json()["error"].endswith(".")


def test_access_tokens_expire_on_demand(sandbox_server):
    """One family, or all of them; refresh tokens stay good."""
    one, two = sandbox_server.connect(), sandbox_server.connect()
    sandbox_server.post("/expire", json={"family": 1})
    assert sandbox_server.read("factory", one).status_code == 401
    assert sandbox_server.read("factory", two).status_code == 200

    sandbox_server.post("/expire")
    assert sandbox_server.read("factory", two).status_code == 401
    assert sandbox_server.refresh(one["refresh_token"]).status_code == 200


def test_a_family_is_ended_from_katanas_side(sandbox_server):
    """The next refresh learns it; a family that does not exist is not found."""
    grant = sandbox_server.connect()
    sandbox_server.post("/kill", json={"family": 1})

    assert sandbox_server.refresh(grant["refresh_token"]).json() == BAD_REFRESH_TOKEN
    ledger = sandbox_server.ledger()
    assert ledger["families"][0]["reason"] == "ended"
    assert ledger["requests"][-1]["remark"] == "family revoked here"
    assert sandbox_server.post("/kill", json={"family": 2}).status_code == 404


def test_starting_again_forgets_everything(sandbox_server):
    """Families, requests, faults and rules are as on the first day."""
    grant = sandbox_server.connect()
    sandbox_server.rules(access_token_seconds=5)
    sandbox_server.arm(on="api", fault="slow", times=0)
    sandbox_server.post("/reset")
    ledger = sandbox_server.ledger()

    assert (ledger["families"], ledger["requests"], ledger["faults"]) == ([], [], [])
    assert ledger["rules"]["access_token_seconds"] == 60
    assert set(ledger["totals"].values()) == {0}
    assert sandbox_server.refresh(grant["refresh_token"]).json() == BAD_REFRESH_TOKEN


def test_the_ledger_tells_what_came_without_any_value(sandbox_server):
    """Names of fields and headers, a fingerprint, the family, the outcome."""
    grant = sandbox_server.connect()
    sandbox_server.refresh(grant["refresh_token"], surprise="value-of-surprise")
    last = sandbox_server.ledger()["requests"][-1]

    assert last["kind"] == "refresh"
    assert last["fields"] == [
        "client_id",
        "client_secret",
        "grant_type",
        "redirect_uri",
        "refresh_token",
        "surprise",
    ]
    assert "content-type" in last["headers"]
    assert last["fingerprint"] == sha256(grant["refresh_token"].encode()).hexdigest()[:16]
    assert (last["family"], last["status"], last["error"]) == (1, 200, None)
    assert sandbox_server.ledger()["totals"] == {
        "authorize": 1,
        "exchange": 1,
        "refresh": 1,
        "revoke": 0,
        "api": 0,
    }


def test_the_ledger_forgets_old_requests_but_counts_them_all():
    """A long run keeps the latest five thousand, and exact totals."""
    ledger = Ledger()
    for n in range(5_010):
        ledger.write(Entry(0, str(n), "GET", "/v1/factory", "api", (), ()))

    assert [entry.n for entry in ledger.entries()] == list(range(11, 5_011))
    assert ledger.totals()["api"] == 5_010


def test_no_secret_is_ever_shown(sandbox_server):
    """Neither the page nor the JSON holds a token, a code, a verifier, a state or the secret."""
    code = sandbox_server.code()
    grant = sandbox_server.exchange(code).json()
    fresh = sandbox_server.refresh(grant["refresh_token"]).json()
    sandbox_server.read("factory", fresh)
    sandbox_server.refresh(grant["refresh_token"])
    shown = sandbox_server.get("/").text + sandbox_server.get("/ledger").text

    secrets = [code, CLIENT_SECRET, VERIFIER, CHALLENGE, "state-of-the-tests"]
    secrets += [each[name] for each in (grant, fresh) for name in ("access_token", "refresh_token")]
    assert [secret for secret in secrets if secret in shown] == []


def test_the_page_explains_itself_while_it_is_empty(sandbox_server):
    """The first thing to do is one link away."""
    page = sandbox_server.get("/").text

    assert "No tokens yet." in page
    assert 'href="http://localhost:8000"' in page


def test_the_buttons_are_forms_that_lead_back_to_the_ledger(sandbox_server):
    """Without any script each press is a post and a redirect."""
    bearer = {"Authorization": f"Bearer {sandbox_server.connect()['access_token']}"}
    webhook = {"url": "http://127.0.0.1:9/hook", "subscribed_events": ["sales_order.created"]}
    sandbox_server.post("/v1/webhooks", json=webhook, headers=bearer)
    page = sandbox_server.get("/").text
    forms = re.findall(r'<form method="post" action="([^"]+)">(.*?)</form>', page, re.DOTALL)
    pressed = []
    for action, fields in sorted(forms, key=lambda form: form[0] == "/reset"):
        data = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', fields))
        pressed.append(sandbox_server.post(action, data=data, headers=FORM))

    assert len(pressed) > 35
    assert {(answer.status_code, answer.headers["Location"]) for answer in pressed} == {(303, "/")}


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost:8000"},
        {"Origin": "null"},
    ],
)
@pytest.mark.parametrize("path", PRESSED)
def test_other_sites_cannot_press_the_buttons(sandbox_server, headers, path):
    """A page elsewhere, the app included, changes nothing here."""
    assert sandbox_server.post(path, headers=headers, data={}).status_code == 403


def test_a_foreign_host_name_is_refused(sandbox_server):
    """A name that was rebound to loopback does not open the sandbox to another site."""
    assert sandbox_server.get("/", headers={"Host": "sandbox.example.com"}).status_code == 400


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", "::"])
def test_only_loopback_is_listened_on(host, capsys):
    """The buttons have no password, so that nobody else may reach them."""
    with pytest.raises(SystemExit):
        main(["--host", host], {})

    assert "choose from" in capsys.readouterr().err


def test_the_command_names_what_it_lacks(capsys):
    """No secret has a default: without one the command stops."""
    assert main([], {"KATANA_CLIENT_ID": "some-client"}) == 2
    assert "KATANA_CLIENT_SECRET, KATANA_REDIRECT_URI" in capsys.readouterr().err


def test_mail_is_received_and_shown() -> None:
    """The app's mails stand in the ledger, as JSON and on the page, and go to nobody."""
    environ = {
        "KATANA_CLIENT_ID": CLIENT_ID,
        "KATANA_CLIENT_SECRET": CLIENT_SECRET,
        "KATANA_REDIRECT_URI": REDIRECT_URI,
    }
    with reserved_port() as port, reserved_port() as smtp_port:
        ports = ("--port", str(port), "--smtp-port", str(smtp_port))
        process = subprocess.Popen(
            (sys.executable, "-m", "sandbox", *ports),
            cwd=ROOT,
            env=environ | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
        )
        try:
            assert process.stdout
            assert b"Katana sandbox" in process.stdout.readline()
            with smtplib.SMTP("127.0.0.1", smtp_port) as post:
                post.sendmail(
                    "app@localhost",
                    ["ada@workshop.example"],
                    "Subject: Come back\r\nMessage-ID: <1@x>\r\n\r\nhttp://localhost/dashboard\r\n",
                )
            url = f"http://127.0.0.1:{port}"
            (mail,) = requests.get(f"{url}/ledger", timeout=10).json()["mails"]
            page = requests.get(url, timeout=10).text
        finally:
            process.terminate()
            process.communicate(timeout=30)

    assert mail["to"] == ["ada@workshop.example"]
    assert (mail["subject"], mail["message_id"]) == ("Come back", "<1@x>")
    assert 'href="http://localhost/dashboard"' in page
