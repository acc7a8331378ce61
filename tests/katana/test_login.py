"""Katana's login: what is sent to it, to the letter."""

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

from app.katana.oauth import (
    Grant,
    KatanaLogin,
    new_code_verifier,
)
from tests.support.login import CANARY, CLIENT_SECRET, CODE, GOOD, TOKEN, VERIFIER, asks, only, says
from tests.support.wire import Wire


def test_the_authorization_url_holds_what_is_documented(login: KatanaLogin) -> None:
    """Katana's own parameters, a state and the challenge of the verifier; nothing else."""
    url = login.authorization_url("the-state", VERIFIER)

    query = parse_qsl(urlsplit(url).query, strict_parsing=True)
    digest = hashlib.sha256(VERIFIER.encode()).digest()
    assert url.partition("?")[0] == login.settings.authorize_url
    assert sorted(query) == [
        ("audience", "https://api.katanamrp.com"),
        ("client_id", "workshop"),
        ("code_challenge", urlsafe_b64encode(digest).decode().rstrip("=")),
        ("code_challenge_method", "S256"),
        ("redirect_uri", "https://workshop.test/katana/callback"),
        ("response_type", "code"),
        ("scope", "offline_access"),
        ("state", "the-state"),
    ]


def test_without_pkce_no_trace_of_it_is_sent(katana: Wire, login: KatanaLogin) -> None:
    """KATANA_PKCE=off: neither a challenge on the way there nor a verifier on the way back."""
    login = KatanaLogin(replace(login.settings, pkce=False))
    says(katana, GOOD)

    url = login.authorization_url("the-state", VERIFIER)
    login.exchange(CODE, VERIFIER)

    assert "code_challenge" not in url
    assert VERIFIER not in url
    assert "code_verifier" not in only(katana).form()


def test_an_exchange_sends_what_is_documented(katana: Wire, login: KatanaLogin) -> None:
    """The fields of Katana's page and the verifier: each once, with its value, in the body."""
    says(katana, GOOD)

    grant = login.exchange(CODE, VERIFIER)

    assert only(katana).form() == {
        "grant_type": "authorization_code",
        "client_id": "workshop",
        "client_secret": CLIENT_SECRET,
        "redirect_uri": "https://workshop.test/katana/callback",
        "code": CODE,
        "code_verifier": VERIFIER,
    }
    assert grant == Grant("canary-access-72", "canary-refresh-72", 86400, "offline_access")


def test_a_refresh_sends_what_is_documented(katana: Wire, login: KatanaLogin) -> None:
    """The five fields of Katana's page, redirect_uri among them; no scope, which narrows."""
    says(katana, GOOD)

    grant = login.refresh(TOKEN)

    assert only(katana).form() == {
        "grant_type": "refresh_token",
        "client_id": "workshop",
        "client_secret": CLIENT_SECRET,
        "redirect_uri": "https://workshop.test/katana/callback",
        "refresh_token": TOKEN,
    }
    assert grant == Grant("canary-access-72", "canary-refresh-72", 86400, "offline_access")


def test_a_revocation_sends_what_is_documented(katana: Wire, login: KatanaLogin) -> None:
    """The token, and who asks."""
    says(katana, b"")

    login.revoke(TOKEN)

    assert only(katana).target == "/oauth/revoke"
    assert only(katana).form() == {
        "client_id": "workshop",
        "client_secret": CLIENT_SECRET,
        "token": TOKEN,
    }


@asks
def test_secrets_travel_in_the_body_alone(
    katana: Wire, login: KatanaLogin, ask: Callable[[KatanaLogin], object]
) -> None:
    """S-34: a form by POST; nothing in the query, nothing in a header, no Authorization."""
    says(katana, GOOD)

    ask(login)

    heard = only(katana)
    assert heard.method == "POST"
    assert heard.target in {"/oauth/token", "/oauth/revoke"}
    assert heard.headers["content-type"].startswith("application/x-www-form-urlencoded")
    assert "authorization" not in heard.headers
    assert not CANARY.search(str(heard.headers))


def test_a_secret_with_special_letters_arrives_as_it_is(katana: Wire, login: KatanaLogin) -> None:
    """Form-encoding, not luck: letters that mean something in a form survive."""
    special = "a%b&c=d+e f:g/h?i"
    says(katana, GOOD)

    KatanaLogin(replace(login.settings, client_secret=special)).refresh(special)

    assert only(katana).form()["client_secret"] == special
    assert only(katana).form()["refresh_token"] == special


def test_verifiers_are_long_and_never_the_same() -> None:
    """S-09: 64 unreserved characters each (RFC 7636 section 4.1)."""
    verifiers = {new_code_verifier() for _ in range(1000)}

    assert len(verifiers) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9._~-]{64}", verifier) for verifier in verifiers)


def test_a_grant_can_be_printed() -> None:
    """S-39: its repr tells lifetime and scope, and no token."""
    assert repr(Grant("canary-access-72", "canary-refresh-72", 60, "offline_access")) == (
        "Grant(expires_in=60, scope='offline_access')"
    )
