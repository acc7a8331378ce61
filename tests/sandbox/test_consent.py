"""The sandbox's consent page: what leads to it, and what it sends back to the app."""

import re

import pytest

from tests.support.partner import (
    CLIENT_ID,
    REDIRECT_URI,
    answer_in,
)


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
