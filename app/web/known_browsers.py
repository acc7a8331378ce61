"""Browsers in which an account signed in lately: who guesses its password does not lock them out.

Such a browser holds a cookie, and has tries of its own. The cookie opens nothing: it is worth a try
at the password. (OWASP: "Slow down online guessing attacks with device cookies".)
"""

import secrets

from flask import current_app, request
from itsdangerous import BadData, URLSafeTimedSerializer
from werkzeug.wrappers import Response

SECONDS = 30 * 24 * 3600


def remember(response: Response, account: str) -> None:
    """Let `response` make this browser known to `account`, under a new name."""
    response.set_cookie(
        _cookie_name(),
        str(_signer().dumps([account, secrets.token_hex(16)])),
        max_age=SECONDS,
        secure=current_app.config["SESSION_COOKIE_SECURE"],
        httponly=True,
        samesite="Lax",
    )


def name_for(account: str) -> str | None:
    """This browser's name; None where `account` did not sign in here lately."""
    try:
        known_to, name = _signer().loads(request.cookies.get(_cookie_name(), ""), max_age=SECONDS)
    except BadData:
        return None
    return str(name) if known_to == account else None


def _cookie_name() -> str:
    return "__Host-known" if current_app.config["SESSION_COOKIE_SECURE"] else "known"


def _signer() -> URLSafeTimedSerializer:
    keys = [*current_app.config["SECRET_KEY_FALLBACKS"], current_app.config["SECRET_KEY"]]
    return URLSafeTimedSerializer(keys, salt="known browser")  # the last one signs
