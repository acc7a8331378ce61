"""Katana's login: what every token response is taken for."""

import re
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import (
    AnswerLost,
    LoginError,
    RequestRefused,
)
from app.katana.oauth import (
    DEFAULT_LIFETIME_SECONDS,
    RESPONSE_BYTES,
    TOKEN_CHARACTERS,
    VALID_LIFETIME_SECONDS,
    Grant,
    KatanaLogin,
)
from tests.support.login import CODE, TOKEN, VERIFIER, as_json, asks_for_a_grant, says
from tests.support.wire import Peer, Wire, answer


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
