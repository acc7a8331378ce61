"""Katana's login: what is sent to it, to the letter, and what every answer is taken for."""

import hashlib
import json
import logging
import re
import traceback
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.credentials import KatanaSettings
from app.errors import (
    AnswerLost,
    ClientRefused,
    GrantRefused,
    LoginBusy,
    LoginError,
    NotSent,
    RequestRefused,
)
from app.katana.oauth import (
    DEFAULT_LIFETIME_SECONDS,
    RESPONSE_BYTES,
    TOKEN_CHARACTERS,
    VALID_LIFETIME_SECONDS,
    Grant,
    KatanaLogin,
    new_code_verifier,
)
from app.settings.config import load
from tests.support.wire import Heard, Peer, Wire, answer, answering, wire

CODE = "canary-code-71"
VERIFIER = "canary-verifier-71-0123456789-0123456789-0123456789"
TOKEN = "canary-refresh-71"
CLIENT_SECRET = "canary-secret-71-0123456789"
GOOD = {
    "access_token": "canary-access-72",
    "refresh_token": "canary-refresh-72",
    "scope": "offline_access",
    "expires_in": 86400,
    "token_type": "Bearer",
}
CANARY = re.compile("canary-[a-z]+-7")


@pytest.fixture(scope="module")
def katana() -> Iterator[Wire]:
    """Katana's login, which answers as it is told to."""
    with wire(answering(answer())) as server:
        yield server


@pytest.fixture
def login(katana: Wire) -> KatanaLogin:
    """What asks it."""
    katana.heard.clear()
    return KatanaLogin(settings(katana))


def settings(katana: Wire) -> KatanaSettings:
    """This app as it is registered there."""
    environ = {
        "KATANA_CLIENT_ID": "workshop",
        "KATANA_CLIENT_SECRET": CLIENT_SECRET,
        "KATANA_REDIRECT_URI": "https://workshop.test/katana/callback",
        "KATANA_AUTHORIZE_URL": f"{katana.url}/authorize",
        "KATANA_ACCESS_TOKEN_URL": f"{katana.url}/oauth/token",
        "KATANA_REVOKE_URL": f"{katana.url}/oauth/revoke",
        "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz",
        "TOKEN_ENCRYPTION_KEYS": f"k1:{urlsafe_b64encode(bytes(range(32))).decode()}",
    }
    return load(environ).katana


def says(katana: Wire, body: object, status: int = 200, **headers: str) -> None:
    """Let Katana answer this from now on: bytes as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    katana.script = answering(answer(data, status, named))


def only(katana: Wire) -> Heard:
    """The one request that Katana was sent."""
    (heard,) = katana.heard
    return heard


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


ASK: dict[str, Callable[[KatanaLogin], object]] = {
    "exchange": lambda login: login.exchange(CODE, VERIFIER),
    "refresh": lambda login: login.refresh(TOKEN),
    "revoke": lambda login: login.revoke(TOKEN),
}
asks = pytest.mark.parametrize("ask", ASK.values(), ids=list(ASK))
asks_for_a_grant = pytest.mark.parametrize(
    "ask", [ASK["exchange"], ASK["refresh"]], ids=["exchange", "refresh"]
)


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


#: The answer to a request for a grant, and the one error that it is.
REFUSALS = [
    (400, {"error": "invalid_grant"}, GrantRefused),
    (401, {"error": "invalid_grant"}, GrantRefused),
    (403, {"error": "invalid_grant", "error_description": "Unknown or invalid"}, GrantRefused),
    (500, {"error": "invalid_grant"}, AnswerLost),
    (503, {"error": "invalid_client"}, AnswerLost),
    (200, {**GOOD, "error": "invalid_grant"}, GrantRefused),
    (401, {"error": "invalid_client"}, ClientRefused),
    (400, {"error": "invalid_client"}, ClientRefused),
    (400, {"error": "unauthorized_client"}, ClientRefused),
    (401, {"error": "access_denied", "error_description": "Unauthorized"}, ClientRefused),
    (403, {"error": "access_denied"}, RequestRefused),
    (401, b"", ClientRefused),
    (401, b"<h1>Unauthorized</h1>", ClientRefused),
    (429, {"error": "too_many_requests"}, LoginBusy),
    (403, {"error": "too_many_requests"}, LoginBusy),
    (429, b"Too many requests.", LoginBusy),
    (400, {"error": "invalid_request"}, RequestRefused),
    (400, {"error": "invalid_scope"}, RequestRefused),
    (400, {"error": "unsupported_grant_type"}, RequestRefused),
    (403, {"error": "mfa_required", "mfa_token": "canary-mfa-7"}, GrantRefused),
    (400, {"error": "interaction_required"}, GrantRefused),
    (403, {"error": "consent_required"}, GrantRefused),
    (400, {"error": {"code": "invalid_grant"}}, RequestRefused),
    (400, {}, RequestRefused),
    (404, b"<h1>Not found</h1>", AnswerLost),
    (403, b"<h1>Are you a robot?</h1>", AnswerLost),
    (500, b"", AnswerLost),
    (502, b"<h1>Bad gateway</h1>", AnswerLost),
    (503, {"error": "temporarily_unavailable"}, AnswerLost),
    (500, {"error": "server_error"}, AnswerLost),
    (200, {"error": "temporarily_unavailable"}, AnswerLost),
    (200, {"error": {"code": 1}, **GOOD}, AnswerLost),
    (204, b"", AnswerLost),
    (500, GOOD, AnswerLost),
]


@asks_for_a_grant
@pytest.mark.parametrize(("status", "body", "error"), REFUSALS)
def test_a_refusal_is_judged_by_its_word(
    katana: Wire,
    login: KatanaLogin,
    ask: Callable[[KatanaLogin], object],
    status: int,
    body: object,
    error: type[LoginError],
) -> None:
    """S-33: Auth0's statuses are not the RFC's; only an `error` says what is wrong."""
    says(katana, body, status)

    with pytest.raises(LoginError) as told:
        ask(login)

    assert type(told.value) is error
    assert str(status) in str(told.value)


@asks_for_a_grant
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_gives_nothing_to_anybody(
    katana: Wire, login: KatanaLogin, ask: Callable[[KatanaLogin], object], status: int
) -> None:
    """S-26: the place that it names is not asked, and its body, tokens or not, not believed."""
    with wire(answering(answer(json.dumps(GOOD).encode()))) as other:
        says(katana, GOOD, status, Location=f"{other.url}/oauth/token")
        with pytest.raises(AnswerLost):
            ask(login)

    assert other.peers == []


def as_json(**changed: object) -> bytes:
    """A good answer after this change; None leaves a field out."""
    kept = {name: value for name, value in (GOOD | changed).items() if value is not None}
    return json.dumps(kept).encode()


@asks_for_a_grant
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"5",
        b'"canary-access-72"',
        b"{}",
        b"<!doctype html><title>Please wait</title>",
        as_json() + as_json(),
        as_json()[:-1],
        as_json().replace(b"}", b', "refresh_token": "canary-refresh-73"}'),
        as_json().replace(b"}", b', "error": null, "error": "temporarily_unavailable"}'),
        as_json().replace(b"86400", b"[" * 30_000 + b"]" * 30_000),
        as_json().replace(b"canary-refresh-72", b"\xff"),
        as_json(refresh_token=7),
        as_json(refresh_token=["canary-refresh-72"]),
        as_json(refresh_token="two words"),
        as_json(refresh_token="break\r\nout"),
        as_json(refresh_token="ключ"),
        as_json(refresh_token="." * (TOKEN_CHARACTERS + 1)),
        as_json(refresh_token=None, access_token=None),
        as_json(refresh_token=None, token_type="mac"),
        as_json(access_token=None, refresh_token=None, token_type=None),
        as_json(more="." * RESPONSE_BYTES),
    ],
    ids=lambda body: repr(body[:40]),
)
@pytest.mark.usefixtures("no_collection")
def test_nonsense_is_an_answer_lost(
    katana: Wire, login: KatanaLogin, ask: Callable[[KatanaLogin], object], body: bytes
) -> None:
    """S-28, S-29: what cannot be used is one error, and leaves open what Katana has done."""
    says(katana, body)

    with pytest.raises(AnswerLost):
        ask(login)


#: Good responses with a flaw in what is not used; each is the only copy of its tokens.
FLAWED = [
    b"\xef\xbb\xbf" + as_json(),
    as_json().decode().encode("utf-16"),
    as_json().decode().encode("utf-32-le"),
    b"\r\n " + as_json() + b"\n\n",
    as_json().replace(b"}", b', "scope": "offline_access"}'),
    as_json().replace(b"}", b', "scope": "other"}'),
    as_json().replace(b"}", b', "access_token": "canary-access-72"}'),
    as_json().replace(b"}", b', "more": 1, "more": [2]}'),
    as_json().replace(b"}", b', "expires_in": 60}'),
    as_json().replace(b"86400", b"NaN"),
    as_json().replace(b"86400", b"-Infinity"),
    as_json().replace(b"86400", b"1" * 5000),
    as_json().replace(b"}", ', "factory": "Möbel"}'.encode("latin-1")),
    as_json().replace(b"}", b', "cut": "\xf0\x9f"}'),
    as_json().replace(b"}", b', "half": "\\ud83d", "raw": "\xed\xa0\xbd"}'),
    as_json().replace(b"}", b', "text": "two\nlines\tand \x00"}'),
    as_json().replace(b"offline_access", b"off\nline\xff"),
    as_json(token_type=None),
    as_json(token_type=""),
    as_json(token_type=" bearer "),
]


@asks_for_a_grant
@pytest.mark.parametrize("body", FLAWED, ids=lambda body: repr(body[-40:]))
@pytest.mark.parametrize("status", [200, 201, 203])
def test_a_flaw_in_what_is_not_used_costs_no_token(
    katana: Wire,
    login: KatanaLogin,
    ask: Callable[[KatanaLogin], Grant],
    body: bytes,
    status: int,
) -> None:
    """S-28, R-2: strict with tokens, type and lifetime; tolerant with everything else.

    Of the same kind: any other encoding, bytes that are none, control characters in text, any
    repeated member, any number of any size, a missing Content-Type, another status of success.
    """
    says(katana, body, status)

    grant = ask(login)

    assert (grant.access_token, grant.refresh_token) == ("canary-access-72", "canary-refresh-72")
    assert grant.expires_in in {86400, DEFAULT_LIFETIME_SECONDS}


def test_two_access_tokens_are_none(katana: Wire, login: KatanaLogin) -> None:
    """S-29: which of the two is good is unknown; the refresh token is kept."""
    says(katana, as_json().replace(b"}", b', "access_token": "canary-access-73"}'))

    grant = login.refresh(TOKEN)

    assert grant.access_token is None
    assert grant.refresh_token == "canary-refresh-72"


UNUSABLE = [
    {"access_token": None},
    {"access_token": ""},
    {"access_token": 5},
    {"access_token": {}},
    {"access_token": True},
    {"access_token": "two words"},
    {"access_token": "break\r\nout: 1"},
    {"access_token": "\x7f"},
    {"access_token": "ключ"},
    {"access_token": "." * (TOKEN_CHARACTERS + 1)},
    {"token_type": "mac"},
    {"token_type": 5},
    {"token_type": "bearer mac"},
]


@pytest.mark.parametrize("changed", UNUSABLE, ids=lambda changed: str(changed)[:40])
def test_a_refresh_token_is_kept_whatever_comes_with_it(
    katana: Wire, login: KatanaLogin, changed: dict[str, object]
) -> None:
    """S-29, S-30: an access token that cannot be used is dropped; the only way on is not."""
    says(katana, as_json(**changed))

    grant = login.refresh(TOKEN)

    assert grant.access_token is None
    assert grant.refresh_token == "canary-refresh-72"


@pytest.mark.parametrize("changed", UNUSABLE, ids=lambda changed: str(changed)[:40])
def test_an_exchange_without_a_usable_access_token_connects_nothing(
    katana: Wire, login: KatanaLogin, changed: dict[str, object]
) -> None:
    """S-29, S-30: a connection begins with both tokens or not at all."""
    says(katana, as_json(**changed))

    with pytest.raises(AnswerLost):
        login.exchange(CODE, VERIFIER)


@asks_for_a_grant
@pytest.mark.parametrize("token_type", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_bearer_is_bearer_in_any_case(
    katana: Wire, login: KatanaLogin, ask: Callable[[KatanaLogin], Grant], token_type: str
) -> None:
    """S-30: the type of a token has no case (RFC 6749 section 5.1)."""
    says(katana, as_json(token_type=token_type))

    assert ask(login).access_token == "canary-access-72"


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_first_grant_without_a_refresh_token_names_the_scope(
    katana: Wire, login: KatanaLogin, nothing: str | None
) -> None:
    """S-32: a connection that would end with its first access token is not made."""
    says(katana, as_json(refresh_token=nothing))

    with pytest.raises(RequestRefused, match="offline_access"):
        login.exchange(CODE, VERIFIER)


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_refresh_without_a_refresh_token_leaves_the_old_one(
    katana: Wire, login: KatanaLogin, nothing: str | None
) -> None:
    """S-32: absent or empty says that the one at hand stays good (RFC 6749 section 6)."""
    says(katana, as_json(refresh_token=nothing))

    assert login.refresh(TOKEN) == Grant("canary-access-72", None, 86400, "offline_access")


@asks_for_a_grant
@pytest.mark.parametrize(
    ("stated", "seconds"),
    [
        (1, 1),
        (60, 60),
        ("3600", 3600),
        (VALID_LIFETIME_SECONDS[-1], VALID_LIFETIME_SECONDS[-1]),
        (VALID_LIFETIME_SECONDS.stop, DEFAULT_LIFETIME_SECONDS),
        (None, DEFAULT_LIFETIME_SECONDS),
        (0, DEFAULT_LIFETIME_SECONDS),
        (-1, DEFAULT_LIFETIME_SECONDS),
        (True, DEFAULT_LIFETIME_SECONDS),
        (3600.0, 3600),
        (60.5, 60),
        (0.5, DEFAULT_LIFETIME_SECONDS),
        ("3600.0", 3600),
        (" 3600 ", 3600),
        ("3_600", DEFAULT_LIFETIME_SECONDS),
        ("inf", DEFAULT_LIFETIME_SECONDS),
        (1e300, DEFAULT_LIFETIME_SECONDS),
        (10**30, DEFAULT_LIFETIME_SECONDS),
        ("", DEFAULT_LIFETIME_SECONDS),
        ("0", DEFAULT_LIFETIME_SECONDS),
        ("-60", DEFAULT_LIFETIME_SECONDS),
        ("soon", DEFAULT_LIFETIME_SECONDS),
        ("٣", DEFAULT_LIFETIME_SECONDS),
        ("9" * 50, DEFAULT_LIFETIME_SECONDS),
        ([], DEFAULT_LIFETIME_SECONDS),
        ({}, DEFAULT_LIFETIME_SECONDS),
    ],
)
def test_no_token_lives_for_ever(
    katana: Wire,
    login: KatanaLogin,
    ask: Callable[[KatanaLogin], Grant],
    stated: object,
    seconds: int,
) -> None:
    """S-31: a lifetime that is missing or absurd is read as a short one, which is renewed."""
    says(katana, as_json(expires_in=stated, expires_at=99_999_999_999))

    assert ask(login).expires_in == seconds


@asks_for_a_grant
@pytest.mark.parametrize(
    ("stated", "scope"),
    [
        ("offline_access more", "offline_access more"),
        ("", ""),
        (None, None),
        (["offline_access"], None),
        (5, None),
        ("break\r\nout", None),
        ("\ud800", None),
        ("." * 501, "." * 500),
    ],
)
def test_a_scope_is_a_line_of_text(
    katana: Wire,
    login: KatanaLogin,
    ask: Callable[[KatanaLogin], Grant],
    stated: object,
    scope: str | None,
) -> None:
    """S-29: anything else is no scope, and no reason to throw the tokens away."""
    says(katana, as_json(scope=stated))

    assert ask(login).scope == scope


@asks_for_a_grant
def test_what_nobody_asked_for_is_ignored(
    katana: Wire, login: KatanaLogin, ask: Callable[[KatanaLogin], Grant]
) -> None:
    """S-29: an id_token, or whatever Katana adds one day, harms nothing (RFC 6749 section 5.1)."""
    says(katana, as_json(id_token="x.y.z", expires_at=0, userinfo=[{"deep": {}}]))

    assert ask(login) == Grant("canary-access-72", "canary-refresh-72", 86400, "offline_access")


@asks
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("1", 1),
        ("3600", 3600),
        (None, None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("Sun, 06 Nov 1994 08:50:07 GMT", 30),
        ("Sun, 06 Nov 1994 08:49:07 GMT", 0),
        ("Sun, 06 Nov 1994 08:50:07 -0000", None),
        ("Sun, 06 Nov 99999999999999999999 08:50:07 GMT", None),
        ("Sun, 06 Nov 1994 99999999999999999999:50:07 GMT", None),
        ("Sun, 06 Nov 1994 08:50:07 +99999999999999999999", None),
        ("9" * 50, 999_999),
    ],
)
def test_a_pause_is_read_in_seconds(
    katana: Wire,
    login: KatanaLogin,
    ask: Callable[[KatanaLogin], object],
    header: str | None,
    seconds: float | None,
) -> None:
    """R-11: a number or a date, counted from the answer's own; otherwise the caller decides."""
    pause = {"Retry_After": header} if header else {}
    says(katana, b"Too many requests.", 429, Date="Sun, 06 Nov 1994 08:49:37 GMT", **pause)

    with pytest.raises(LoginBusy) as told:
        ask(login)

    assert told.value.retry_after == seconds


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": "invalid_request"}, RequestRefused),
        (401, {"error": "invalid_client"}, ClientRefused),
        (307, b"", AnswerLost),
        (404, b"", AnswerLost),
        (503, b"", AnswerLost),
    ],
)
def test_a_revocation_that_is_not_confirmed_is_an_error(
    katana: Wire, login: KatanaLogin, status: int, body: object, error: type[LoginError]
) -> None:
    """S-48: only 200 says that the token is done with (RFC 7009 section 2.2)."""
    says(katana, body, status)

    with pytest.raises(error):
        login.revoke(TOKEN)


@asks
def test_a_closed_port_means_not_sent(
    login: KatanaLogin, ask: Callable[[KatanaLogin], object]
) -> None:
    """R-3: nothing has left, so nothing is spent."""
    with wire(answering(answer())) as server:
        gone = settings(server)

    with pytest.raises(NotSent):
        ask(KatanaLogin(gone))


@asks
def test_no_answer_means_an_answer_lost(
    katana: Wire, login: KatanaLogin, ask: Callable[[KatanaLogin], object]
) -> None:
    """R-2: it has left, so what it held may be spent; it is not sent again."""

    def hears_and_crashes(peer: Peer) -> None:
        peer.hear()
        peer.reset()

    katana.script = hears_and_crashes

    with pytest.raises(AnswerLost):
        ask(login)

    assert len(katana.heard) == 1


def test_a_refresh_past_its_moment_is_not_sent(katana: Wire, login: KatanaLogin) -> None:
    """R-7: who has lost the lease sends nothing."""
    says(katana, GOOD)

    with pytest.raises(NotSent):
        login.refresh(TOKEN, send_before=0)

    assert katana.heard == []


@asks_for_a_grant
def test_no_part_of_an_answer_is_a_grant(
    katana: Wire, login: KatanaLogin, ask: Callable[[KatanaLogin], object]
) -> None:
    """R-2: cut after any of its bytes, the answer is lost, whatever it looks like until there."""
    whole = answer(as_json())
    left = list(range(len(whole)))

    def cuts(peer: Peer) -> None:
        peer.hear()
        peer.send(whole[: left.pop()])

    katana.script = cuts

    while left:
        with pytest.raises(AnswerLost):
            ask(login)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
tokens = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "access_token": tokens | json_values,
        "refresh_token": tokens | json_values,
        "token_type": st.sampled_from(["Bearer", "bearer", "mac"]) | json_values,
        "expires_in": st.integers(-1, 10**8) | json_values,
        "scope": st.just("offline_access") | json_values,
        "error": st.sampled_from(["invalid_grant", "", None]) | json_values,
    },
)
statuses = st.sampled_from([200, 200, 200, 302, 400, 401, 403, 429, 500])


def is_sound(grant: Grant) -> bool:
    """Whether a grant can be stored and used as it is."""
    given = [token for token in (grant.access_token, grant.refresh_token) if token is not None]
    printable = all(re.fullmatch(r"[!-~]{1,8192}", token) for token in given)
    scope = grant.scope is None or (len(grant.scope) <= 500 and grant.scope.isprintable())
    return bool(given) and printable and scope and grant.expires_in in VALID_LIFETIME_SECONDS


@asks_for_a_grant
def test_any_answer_is_a_sound_grant_or_a_known_error(
    katana: Wire, login: KatanaLogin, ask: Callable[[KatanaLogin], Grant]
) -> None:
    """S-29: over all of JSON, nothing half-usable and no other exception comes out."""

    @given(bodies | json_values, statuses)
    def comes(body: object, status: int) -> None:
        says(katana, body, status)
        with suppress(LoginError):
            assert is_sound(ask(login))

    comes()


@asks_for_a_grant
def test_any_bytes_are_a_known_error(
    katana: Wire, login: KatanaLogin, ask: Callable[[KatanaLogin], Grant]
) -> None:
    """S-28: noise for a body raises what callers expect, and nothing else."""

    @given(st.binary(), statuses)
    def comes(body: bytes, status: int) -> None:
        says(katana, body, status)
        with pytest.raises(LoginError):
            ask(login)

    comes()


@asks
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, GOOD),
        (200, {**GOOD, "refresh_token": "canary two words"}),
        (200, b"canary-access-72"),
        (403, {"error": "invalid_grant", "error_description": f"{TOKEN} {CODE} {CLIENT_SECRET}"}),
        (400, {"error": f"{TOKEN}"}),
        (401, {"error": "access_denied", "error_description": CLIENT_SECRET}),
        (503, TOKEN.encode()),
    ],
)
def test_no_secret_is_in_a_log_or_an_error(
    katana: Wire,
    login: KatanaLogin,
    ask: Callable[[KatanaLogin], object],
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: object,
) -> None:
    """S-37, S-39: at DEBUG, whatever Katana answers: no token, code, verifier or secret."""
    caplog.set_level(logging.DEBUG)
    says(katana, body, status)

    said = repr(login) + repr(login.settings)
    login.authorization_url("the-state", VERIFIER)
    try:
        said += repr(ask(login))
    except LoginError as error:
        said += "".join(traceback.format_exception(error))

    assert not CANARY.search(said)
    assert not CANARY.search(caplog.text)
    assert "the-state" not in caplog.text


def test_a_grant_can_be_printed() -> None:
    """S-39: its repr tells lifetime and scope, and no token."""
    assert repr(Grant("canary-access-72", "canary-refresh-72", 60, "offline_access")) == (
        "Grant(expires_in=60, scope='offline_access')"
    )
