"""Katana's login: refusals, failures, and how long to wait after them."""

import json
import logging
import traceback
from collections.abc import Callable

import pytest

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
    KatanaLogin,
)
from tests.support.login import (
    CANARY,
    CLIENT_SECRET,
    CODE,
    GOOD,
    TOKEN,
    VERIFIER,
    asks,
    asks_for_a_grant,
    says,
    settings,
)
from tests.support.wire import Peer, Wire, answer, answering, wire

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
