"""The sandbox's tokens: codes, refreshes, reuse and revocation follow Katana's rules."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.partner import (
    CHALLENGE,
    CLIENT_ID,
    CLIENT_SECRET,
    REDIRECT_URI,
)

BAD_REFRESH_TOKEN = {
    "error": "invalid_grant",
    "error_description": "Unknown or invalid refresh token.",
}
BAD_CODE = {"error": "invalid_grant", "error_description": "Invalid authorization code"}
WRONG_CLIENT = {"error": "access_denied", "error_description": "Unauthorized"}


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
