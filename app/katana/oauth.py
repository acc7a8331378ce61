"""Katana's login: authorization URL, exchange of a code, refresh, revocation.

The only file that uses Authlib. Authlib builds the requests. It does not store tokens, refresh them
or parse responses: its automatic refresh sends a refresh token once for each thread, and it accepts
`{}` as a token.

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
from app.katana import retry_after
from app.katana.transport import NeverSent, NoAnswer, harden

SCOPE = "offline_access"
RESPONSE_SECONDS = 10.0  # from sending the request to the last byte of the response
RESPONSE_BYTES = 64 * 1024
SUCCESS = range(200, 300)  # RFC 6749 says 200; any of these may hold the only copy of a token
TOKEN_CHARACTERS = 8 * 1024
VALID_LIFETIME_SECONDS = range(1, 366 * 24 * 3600)
LONGEST_LIFETIME_SECONDS = VALID_LIFETIME_SECONDS.stop
DEFAULT_LIFETIME_SECONDS = 300
#: Errors that only the user can resolve, by signing in, consenting or a second factor: OpenID
#: Connect Core section 3.1.2.6, RFC 9470 section 3, and Auth0's error codes.
USER_ACTION_REQUIRED = frozenset(
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
    """The tokens of a token response.

    `refresh_token` is None if the response has none: the one that was sent stays valid.
    `access_token` is None if the response has no usable one. Its refresh token is still stored,
    because it is the only copy.
    """

    access_token: str | None = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int  # seconds
    scope: str | None
    #: How long Katana took to respond; None if the grant does not come from a response.
    response_seconds: float | None = field(default=None, repr=False, compare=False)


def new_code_verifier() -> str:
    """A new PKCE verifier: 64 characters, about 380 bits (RFC 7636 section 4.1)."""
    return generate_token(64)


class KatanaLogin:
    """Requests to Katana's login, with the credentials of one client."""

    def __init__(self, settings: KatanaSettings) -> None:
        self.settings = settings

    def authorization_url(self, state: str, code_verifier: str) -> str:
        """The URL to which the user's browser is redirected to approve."""
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
        """Exchange an authorization code for a grant.

        Raises a LoginError. RequestRefused also if there is no refresh token: the connection would
        end with its first access token.
        """
        with self._session() as session:
            grant = self._request_grant(
                session.fetch_token,
                grant_type="authorization_code",
                code=code,
                code_verifier=code_verifier if self.settings.pkce else None,
            )
        if grant.access_token is None:
            raise AnswerLost("Katana's token response has no usable access token")
        if grant.refresh_token is None:
            raise RequestRefused(
                f"no refresh token came: is the scope {SCOPE} allowed for this client?"
            )

        return grant

    def refresh(
        self,
        refresh_token: str,
        send_before: float | None = None,
        response_seconds: float = RESPONSE_SECONDS,
    ) -> Grant:
        """Exchange `refresh_token`, which is then spent, for the next grant. Raises a LoginError.

        `send_before` is a time on `clock.monotonic()`; after it nothing is sent (NotSent).
        `response_seconds` is the time from sending the request to the last byte of the response.
        """
        with self._session(send_before) as session:
            return self._request_grant(
                session.refresh_token, timeout=response_seconds, refresh_token=refresh_token
            )

    def revoke(self, refresh_token: str) -> None:
        """Revoke `refresh_token` at Katana (RFC 7009). Raises a LoginError."""
        with self._session() as session:
            try:
                response = session.revoke_token(  # type: ignore[no-untyped-call]
                    self.settings.revoke_url,
                    token=refresh_token,
                    timeout=RESPONSE_SECONDS,
                    allow_redirects=False,
                )
            except NeverSent as error:
                raise NotSent(str(error)) from None
            except NoAnswer as error:
                raise AnswerLost(str(error)) from None
        if response.status_code != 200:
            raise _refusal(response, _json_object(response))

    def withdraw(self, grant: Grant) -> None:
        """Revoke a grant that could not be stored, if Katana offers revocation.

        A failure is only logged. The caller must not have an open transaction. Do not use it if the
        user is connected: Katana may end the grant of that connection too.
        """
        if grant.refresh_token is None or self.settings.revoke_url is None:
            return

        try:
            self.revoke(grant.refresh_token)
        except LoginError as error:
            logger.warning("a grant that was not stored could not be revoked: %s", error)

    def _session(self, send_before: float | None = None) -> "_TokenSession":
        # A new session, and so a new TCP connection, for each request: on a pooled one that Katana
        # has closed, the error is the same as for a lost response.
        session = _TokenSession(
            client_id=self.settings.client_id,
            client_secret=self.settings.client_secret,
            token_endpoint_auth_method="client_secret_post",  # noqa: S106  a method's name
            revocation_endpoint_auth_method="client_secret_post",
            redirect_uri=self.settings.redirect_uri,
            code_challenge_method="S256" if self.settings.pkce else None,
        )
        harden(session, body_bytes=RESPONSE_BYTES, send_before=send_before)
        return session

    def _request_grant(
        self, send: Any, *, timeout: float = RESPONSE_SECONDS, **fields: Any
    ) -> Grant:
        try:
            grant: Grant = send(
                self.settings.access_token_url,
                # Katana's documentation lists this parameter for the refresh too.
                redirect_uri=self.settings.redirect_uri,
                timeout=timeout,
                allow_redirects=False,
                **fields,
            )
        except NeverSent as error:
            raise NotSent(str(error)) from None
        except NoAnswer as error:
            raise AnswerLost(str(error)) from None
        return grant


class _TokenSession(OAuth2Session):
    """Authlib's session with our own parsing of the token response."""

    def parse_response_token(self, response: Response) -> Grant:
        body = _json_object(response)
        if response.status_code in SUCCESS and body is not None and not body.get("error"):
            return _grant(body, response.elapsed.total_seconds())

        raise _refusal(response, body)

    def _refresh_token(self, url: str, body: str = "", **request: Any) -> Grant:
        # Authlib's method expects a dict and stores it as the token.
        request.pop("refresh_token", None)
        response = self._http_post(url, body=body, **request)  # type: ignore[attr-defined]
        return self.parse_response_token(response)


#: The value of a JSON member that occurs twice with different values. Fails every type check.
_CONFLICT = object()


def _refusal(response: Response, body: dict[str, Any] | None) -> Exception:
    # The error code decides, not the status: Auth0 sends 403, although RFC 6749 section 5.2
    # requires 400. With a 5xx status the error code is ignored.
    status = response.status_code
    error = body.get("error") if body else None
    code = (
        error
        if isinstance(error, str) and error.isidentifier() and len(error) <= 40
        else "no error code"
    )
    text = f"Katana's login answered {status}, {code}"
    return _error_class(status, code, body)(text, retry_after.seconds(response))


def _error_class(status: int, code: str, body: dict[str, Any] | None) -> type[LoginError]:
    if status >= 500:
        return AnswerLost
    if status == 429 or code == "too_many_requests":
        return LoginBusy
    if code == "invalid_grant" or code in USER_ACTION_REQUIRED:
        return GrantRefused
    if code in {"invalid_client", "unauthorized_client"} or status == 401:
        return ClientRefused
    if status >= 400 and body is not None:
        return RequestRefused
    return AnswerLost


def _json_object(response: Response) -> dict[str, Any] | None:
    """The body as a JSON object, parsed tolerantly: it may hold the only copy of the next token.

    Accepts a byte order mark, another Unicode encoding (RFC 4627 section 3), invalid bytes, control
    characters in strings, and a member that is repeated with the same value. A member with two
    different values counts as missing.
    """
    # Invalid bytes become U+FFFD, which no token contains.
    text = response.content.decode(json.detect_encoding(response.content), "replace")
    try:
        body = json.loads(
            text, object_pairs_hook=_merge_repeated, parse_int=_whole_number, strict=False
        )
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _whole_number(digits: str) -> float:
    # int() raises for more than 4,300 digits, and the tokens of the response would be lost.
    return int(digits) if len(digits) < 20 else float("inf")


def _merge_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    for name, value in pairs:
        if not _is_same(members[name], value):
            members[name] = _CONFLICT
    return members


def _is_same(one: object, other: object) -> bool:
    return type(one) is type(other) and repr(one) == repr(other)


def _grant(body: dict[str, Any], response_seconds: float) -> Grant:
    access_token, refresh_token = body.get("access_token"), body.get("refresh_token")
    if not _is_bearer(body.get("token_type")) or not _is_token(access_token):
        access_token = None
    if refresh_token in (None, "") and access_token:
        refresh_token = None
    elif not _is_token(refresh_token):
        raise AnswerLost("Katana's token response has no usable tokens")

    scope = body.get("scope")
    return Grant(
        access_token=access_token,
        refresh_token=refresh_token,
        expires_in=_lifetime(body.get("expires_in")),
        scope=scope[:500] if isinstance(scope, str) and _is_printable(scope) else None,
        response_seconds=response_seconds,
    )


def _is_bearer(token_type: object) -> bool:
    # RFC 6749 section 5.1 requires the type. A response without it is accepted, because it is the
    # only copy of its tokens, and Katana issues bearer tokens only.
    if token_type in (None, ""):
        return True
    return isinstance(token_type, str) and token_type.strip().lower() == "bearer"


def _is_token(value: object) -> bool:
    # Visible ASCII (RFC 6749 appendix A): anything else could inject into a header.
    return (
        isinstance(value, str)
        and 0 < len(value) <= TOKEN_CHARACTERS
        and all("!" <= c <= "~" for c in value)
    )


def _is_printable(scope: str) -> bool:
    # RFC 6749 appendix A. If the database could not store the scope, the tokens would not be saved.
    return scope.isascii() and scope.isprintable()


def _lifetime(stated: object) -> int:
    """Seconds; 300 if `expires_in` is missing or invalid, so that the token is still refreshed."""
    if isinstance(stated, str):
        stated = _number(stated)
    if isinstance(stated, bool) or not isinstance(stated, int | float):
        return DEFAULT_LIFETIME_SECONDS
    if not VALID_LIFETIME_SECONDS[0] <= stated <= VALID_LIFETIME_SECONDS[-1]:  # also for NaN
        return DEFAULT_LIFETIME_SECONDS
    return int(stated)


def _number(text: str) -> float | None:
    # Limits the number of digits. float() would also accept "1_0" and "inf".
    plain = re.fullmatch(r"\s*([0-9]{1,9}(?:\.[0-9]{0,9})?)\s*", text, re.ASCII)
    return float(plain[1]) if plain else None
