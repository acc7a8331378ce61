"""Katana's login: authorization URL, code for grant, refresh for grant, revoke.

The only file that touches Authlib. Authlib writes the requests; it is not asked to keep tokens, to
refresh by itself, or to judge an answer: its automatic refresh sends one refresh token as often as
there are threads, and it takes `{}` for a token.

Sources: developer.katanamrp.com/page/setting-up-oauth, RFC 6749 sections 4.1, 5 and 6, RFC 7636,
RFC 7009.
"""

import json
import logging
import re
from dataclasses import dataclass, field
from typing import Any

from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session
from requests import Response

from app.errors import (
    AnswerLost,
    ClientRefused,
    GrantRefused,
    LoginBusy,
    LoginError,
    NotSent,
    RequestRefused,
)
from app.katana import retry_after
from app.katana.transport import NeverSent, NoAnswer, harden
from app.settings.config import KatanaSettings

SCOPE = "offline_access"
ANSWER_SECONDS = 10.0  # from the request's leaving to the last byte of its answer
ANSWER_BYTES = 64 * 1024
SUCCESS = range(200, 300)  # RFC 6749 says 200; another one may hold the only copy of a token
TOKEN_CHARACTERS = 8 * 1024
STATED_LIFE_SECONDS = range(1, 366 * 24 * 3600)
LONGEST_LIFE_SECONDS = STATED_LIFE_SECONDS.stop
UNSTATED_LIFE_SECONDS = 300
#: Refusals that stay until the user signs in, consents or proves more: OpenID Connect Core section
#: 3.1.2.6, RFC 9470 section 3, and Auth0's words for a second factor.
USERS_TO_MEND = frozenset(
    {
        "interaction_required",
        "login_required",
        "consent_required",
        "account_selection_required",
        "registration_required",
        "mfa_required",
        "mfa_enrollment_required",
        "mfa_registration_required",
        "association_required",
        "insufficient_user_authentication",
        "unmet_authentication_requirements",
        "reauthentication_required",
        "user_blocked",
    }
)


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Grant:
    """What Katana gave.

    `refresh_token` is None where a refresh leaves the old one in force. `access_token` is None in
    an answer that is good for nothing but its refresh token: that one is the only way on, so it is
    kept.
    """

    access_token: str | None = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int  # seconds
    scope: str | None
    #: How long Katana took, in seconds, where it was asked.
    answered_in: float | None = field(default=None, repr=False, compare=False)


def new_code_verifier() -> str:
    """A fresh PKCE verifier: 64 characters, about 380 bits (RFC 7636 section 4.1)."""
    return generate_token(64)


class KatanaLogin:
    """Katana's login, as one registered client sees it."""

    def __init__(self, settings: KatanaSettings) -> None:
        self.settings = settings

    def authorization_url(self, state: str, code_verifier: str) -> str:
        """Where to send the browser of a user who wants to connect."""
        with self._session() as session:
            url, _ = session.create_authorization_url(
                self.settings.authorize_url,
                state=state,
                code_verifier=code_verifier if self.settings.pkce else None,
                redirect_uri=self.settings.redirect_uri,
                scope=SCOPE,
                audience=self.settings.audience,
            )
        return str(url)

    def exchange(self, code: str, code_verifier: str) -> Grant:
        """The grant for an authorization code.

        Raises a LoginError; RequestRefused also where Katana gave no refresh token, without which
        a connection would end with its first access token.
        """
        with self._session() as session:
            grant = self._ask(
                session.fetch_token,
                grant_type="authorization_code",
                code=code,
                code_verifier=code_verifier if self.settings.pkce else None,
            )
        if grant.access_token is None:
            raise AnswerLost("Katana's login gave no access token that can be used")
        if grant.refresh_token is None:
            raise RequestRefused(
                f"no refresh token came: is the scope {SCOPE} allowed for this client?"
            )

        return grant

    def refresh(
        self,
        refresh_token: str,
        send_before: float | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> Grant:
        """The next grant for `refresh_token`, which is spent by asking. Raises a LoginError.

        `send_before` is a moment of `clock.monotonic()`; after it nothing is sent (NotSent).
        `answer_seconds` is the time from the request's leaving to the last byte of the response.
        """
        with self._session(send_before) as session:
            return self._ask(
                session.refresh_token, timeout=answer_seconds, refresh_token=refresh_token
            )

    def revoke(self, refresh_token: str) -> None:
        """Tell Katana that `refresh_token` is done with (RFC 7009). Raises a LoginError."""
        with self._session() as session:
            try:
                response = session.revoke_token(  # type: ignore[no-untyped-call]
                    self.settings.revoke_url,
                    token=refresh_token,
                    timeout=ANSWER_SECONDS,
                    allow_redirects=False,
                )
            except NeverSent as error:
                raise NotSent(str(error)) from None
            except NoAnswer as error:
                raise AnswerLost(str(error)) from None
        if response.status_code != 200:
            raise _refusal(response, _object_or_none(response))

    def withdraw(self, grant: Grant) -> None:
        """Revoke a grant that is stored nowhere, if Katana offers that: else it would stay valid.

        A failure is logged, no more. Have no transaction open. Do not use it for a user who is
        connected: Katana may end the grant of that connection too.
        """
        if grant.refresh_token is None or self.settings.revoke_url is None:
            return

        try:
            self.revoke(grant.refresh_token)
        except LoginError as error:
            logger.warning("a grant that is stored nowhere stays valid: %s", error)

    def _session(self, send_before: float | None = None) -> "_TokenSession":
        # A new one for each request, hence a new socket: a pooled one that Katana has closed
        # meanwhile fails in a way that cannot be told from a lost answer.
        session = _TokenSession(
            client_id=self.settings.client_id,
            client_secret=self.settings.client_secret,
            token_endpoint_auth_method="client_secret_post",  # noqa: S106  a method's name
            revocation_endpoint_auth_method="client_secret_post",
            redirect_uri=self.settings.redirect_uri,
            code_challenge_method="S256" if self.settings.pkce else None,
        )
        harden(session, body_bytes=ANSWER_BYTES, send_before=send_before)
        return session

    def _ask(self, send: Any, *, timeout: float = ANSWER_SECONDS, **fields: Any) -> Grant:
        try:
            answer: Grant = send(
                self.settings.access_token_url,
                # Katana's page lists it for the refresh request too.
                redirect_uri=self.settings.redirect_uri,
                timeout=timeout,
                allow_redirects=False,
                **fields,
            )
        except NeverSent as error:
            raise NotSent(str(error)) from None
        except NoAnswer as error:
            raise AnswerLost(str(error)) from None
        return answer


class _TokenSession(OAuth2Session):
    """Authlib's session, with our reading of the answer in place of its own."""

    def parse_response_token(self, response: Response) -> Grant:
        answer = _object_or_none(response)
        if response.status_code in SUCCESS and answer is not None and not answer.get("error"):
            return _grant(answer, response.elapsed.total_seconds())

        raise _refusal(response, answer)

    def _refresh_token(self, url: str, body: str = "", **request: Any) -> Grant:
        # Authlib's own goes on to treat the answer as a dict of tokens that it keeps.
        request.pop("refresh_token", None)
        response = self._http_post(url, body=body, **request)  # type: ignore[attr-defined]
        return self.parse_response_token(response)


#: Stands for a member that a response repeats with another value; of no type that is used.
_CONFLICT = object()


def _refusal(response: Response, answer: dict[str, Any] | None) -> Exception:
    # Judged by the word, not by the status: Auth0 says 403 where RFC 6749 section 5.2 says 400. But
    # no word is believed of a server that says it is broken.
    status = response.status_code
    code = answer.get("error") if answer else None
    word = (
        code
        if isinstance(code, str) and code.isidentifier() and len(code) <= 40
        else "no error code"
    )
    text = f"Katana's login answered {status}, {word}"
    return _kind(status, word, answer)(text, retry_after.seconds(response))


def _kind(status: int, word: str, answer: dict[str, Any] | None) -> type[LoginError]:
    if status >= 500:
        return AnswerLost
    if status == 429 or word == "too_many_requests":
        return LoginBusy
    if word == "invalid_grant" or word in USERS_TO_MEND:
        return GrantRefused
    if word in {"invalid_client", "unauthorized_client"} or status == 401:
        return ClientRefused
    if status >= 400 and answer is not None:
        return RequestRefused
    return AnswerLost


def _object_or_none(response: Response) -> dict[str, Any] | None:
    """The body as a JSON object, read tolerantly: it may hold the only copy of the next token.

    A byte order mark, another Unicode encoding (RFC 4627 section 3), bytes that are not in it,
    control characters in text and a member that is repeated with the same value are accepted. If a
    member has two values, it has none.
    """
    # What cannot be decoded becomes a character that no token has.
    text = response.content.decode(json.detect_encoding(response.content), "replace")
    try:
        answer = json.loads(
            text, object_pairs_hook=_agreeing, parse_int=_whole_number, strict=False
        )
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _whole_number(digits: str) -> float:
    # int() refuses more than 4,300 digits, which would cost the tokens beside the number.
    return int(digits) if len(digits) < 20 else float("inf")


def _agreeing(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    for name, value in pairs:
        if not _is_same(members[name], value):
            members[name] = _CONFLICT
    return members


def _is_same(one: object, other: object) -> bool:
    return type(one) is type(other) and repr(one) == repr(other)


def _grant(answer: dict[str, Any], answered_in: float) -> Grant:
    access_token, refresh_token = answer.get("access_token"), answer.get("refresh_token")
    if not _is_bearer(answer.get("token_type")) or not _is_token(access_token):
        access_token = None
    if refresh_token in (None, "") and access_token:
        refresh_token = None
    elif not _is_token(refresh_token):
        raise AnswerLost("Katana's token response holds no tokens that can be used")

    scope = answer.get("scope")
    return Grant(
        access_token=access_token,
        refresh_token=refresh_token,
        expires_in=_lifetime(answer.get("expires_in")),
        scope=scope[:500] if isinstance(scope, str) and _is_plain(scope) else None,
        answered_in=answered_in,
    )


def _is_bearer(token_type: object) -> bool:
    # RFC 6749 section 5.1 requires the type. A response without one is still the only copy of its
    # tokens, and Katana issues bearer tokens only.
    if token_type in (None, ""):
        return True
    return isinstance(token_type, str) and token_type.strip().lower() == "bearer"


def _is_token(value: object) -> bool:
    # Visible ASCII (RFC 6749 appendix A): anything else could break out of a header.
    return (
        isinstance(value, str)
        and 0 < len(value) <= TOKEN_CHARACTERS
        and all("!" <= c <= "~" for c in value)
    )


def _is_plain(scope: str) -> bool:
    # As RFC 6749 appendix A has it. What a database cannot store would keep the tokens beside it
    # from being stored.
    return scope.isascii() and scope.isprintable()


def _lifetime(stated: object) -> int:
    """Seconds; 300 if `expires_in` is missing or invalid, so that the token is still refreshed."""
    if isinstance(stated, str):
        stated = _number(stated)
    if isinstance(stated, bool) or not isinstance(stated, int | float):
        return UNSTATED_LIFE_SECONDS
    if not STATED_LIFE_SECONDS[0] <= stated <= STATED_LIFE_SECONDS[-1]:  # also for NaN
        return UNSTATED_LIFE_SECONDS
    return int(stated)


def _number(text: str) -> float | None:
    # No more digits than the longest lifetime has, with a fraction: float() takes "1_0" and "inf".
    plain = re.fullmatch(r"\s*([0-9]{1,9}(?:\.[0-9]{0,9})?)\s*", text, re.ASCII)
    return float(plain[1]) if plain else None
