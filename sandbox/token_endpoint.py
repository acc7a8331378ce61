"""POST /oauth/token and POST /oauth/revoke, with Auth0's statuses and bodies."""

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256

from flask import Blueprint, Response, jsonify, request

from sandbox.consents import Asked
from sandbox.middleware import note
from sandbox.refusals import (
    LoginRefusal,
    bad_code,
    bad_refresh_token,
    bad_request,
    bad_verifier,
    wrong_client,
)
from sandbox.state import memory, sandbox
from sandbox.tokens import Grant, UnknownRefreshToken

bp = Blueprint("token_endpoint", __name__)


@bp.post("/oauth/token")
def token() -> Response:
    """Exchange a code or a refresh token for new tokens."""
    grant_type = _required("grant_type")
    _check_client()
    if grant_type == "authorization_code":
        return _answer(_exchange())
    if grant_type == "refresh_token":
        return _answer(_refresh())

    raise LoginRefusal(403, "unsupported_grant_type", "Unsupported grant type.")


@bp.post("/oauth/revoke")
def revoke() -> Response:
    """End the family of a refresh token; an unknown token gets the same response."""
    _check_client()
    family = memory().families.revoke(_required("token"))
    note(family=family, remark="family revoked" if family else "no such token")
    return Response(status=200)


@bp.errorhandler(LoginRefusal)
def refuse(refusal: LoginRefusal) -> tuple[Response, int]:
    """Return a refusal in the format of Auth0."""
    note(error=refusal.error)
    if refusal.remark:
        note(family=refusal.family, remark=refusal.remark)
    body = {"error": refusal.error, "error_description": refusal.description}
    return jsonify(body), refusal.status


def _check_client() -> None:
    """Refuse anything but the right client id and secret in the body.

    :raise LoginRefusal: a Basic header (the client is registered for the body), a parameter
        outside the body, a parameter that is missing or given twice, or wrong values.
    """
    if "Authorization" in request.headers:
        raise wrong_client()
    if request.args:
        raise bad_request("Parameters belong in the body.")
    if any(len(values) > 1 for values in request.form.listvalues()):
        raise bad_request("A parameter was given more than once.")
    if not sandbox().client.is_proven_by(_required("client_id"), _required("client_secret")):
        raise wrong_client()


def _exchange() -> Grant:
    """Return the first tokens of a family for a code; the code is consumed in any case.

    :raise LoginRefusal: the code, its redirect URI or its verifier is wrong.
    """
    code, redirect_uri = _required("code"), _required("redirect_uri")
    approved = memory().consents.redeem(code)
    if approved is None:
        raise bad_code("code unknown, used or too old")
    if redirect_uri != approved.asked.redirect_uri:
        raise bad_code("redirect_uri differs from the one that got the code")
    _check_verifier(approved.asked)

    return memory().families.open(approved.factory, memory().rules)


def _check_verifier(asked: Asked) -> None:
    """Refuse a verifier that does not match, or that has no challenge (RFC 9700, 4.8.2)."""
    verifier = request.form.get("code_verifier", "")
    if asked.code_challenge is None and not verifier:
        return
    hashed = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=")
    if not hmac.compare_digest(hashed, (asked.code_challenge or "").encode()):
        raise bad_verifier()


def _refresh() -> Grant:
    """Return new tokens for a refresh token, which is spent.

    :raise LoginRefusal: the token is refused; or the redirect URI is not the registered one, and
        then the token is not spent.
    """
    refresh_token = _required("refresh_token")
    if request.form.get("redirect_uri", sandbox().client.redirect_uri) != (
        sandbox().client.redirect_uri
    ):
        raise bad_request("redirect_uri is not the registered one.")
    try:
        return memory().families.rotate(refresh_token, memory().rules)
    except UnknownRefreshToken as refused:
        raise bad_refresh_token(refused.family, refused.remark) from refused


def _answer(grant: Grant) -> Response:
    note(family=grant.family, remark=grant.remark)
    return jsonify(
        access_token=grant.access_token,
        refresh_token=grant.refresh_token,
        scope="offline_access",
        expires_in=grant.expires_in,
        token_type="Bearer",  # noqa: S106  # a token type, not a token
    )


def _required(name: str) -> str:
    """Return a parameter of the body; an empty one counts as missing (RFC 6749, 3.2)."""
    value = request.form.get(name, "")
    if not value:
        raise bad_request(f"Missing required parameter: {name}")

    return value
