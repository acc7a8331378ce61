"""Device cookies: a browser in which an account has signed in has its own sign-in limit.

So an attacker who guesses passwords cannot lock the owner out. The cookie signs nobody in: the
password is still required. (OWASP: "Slow down online guessing attacks with device cookies".)
"""

import secrets
import time

from flask import current_app, request
from itsdangerous import BadData, URLSafeSerializer
from werkzeug.wrappers import Response

SECONDS = 30 * 24 * 3600
ACCOUNTS = 8  # the most accounts in one cookie, for a computer that many users share

#: By account: its random name in this browser and when it was set (Unix seconds), newest first.
Names = dict[str, tuple[str, int]]


def remember(response: Response, account: str) -> None:
    """Add `account` to this browser's cookie, under a new name."""
    others = _without(account)
    _set(response, {account: (secrets.token_hex(8), int(time.time())), **others})


def forget(response: Response, account: str) -> None:
    """Remove `account` from this browser's cookie."""
    if account in _names():
        _set(response, _without(account))


def _set(response: Response, names: Names) -> None:
    response.set_cookie(
        _cookie_name(),
        str(_signer().dumps(dict(list(names.items())[:ACCOUNTS]))),
        max_age=SECONDS,
        secure=current_app.config["SESSION_COOKIE_SECURE"],
        httponly=True,
        samesite="Lax",
    )


def name_for(account: str) -> str | None:
    """The browser's name for `account`; None if it has not signed in here within 30 days."""
    name, since = _names().get(account, (None, 0))
    return name if time.time() < since + SECONDS else None


def _without(account: str) -> Names:
    return {whose: name for whose, name in _names().items() if whose != account}


def _names() -> Names:
    try:
        names: Names = _signer().loads(request.cookies.get(_cookie_name(), ""))
    except BadData:
        return {}
    return names


def _cookie_name() -> str:
    return "__Host-known" if current_app.config["SESSION_COOKIE_SECURE"] else "katana_known"


def _signer() -> URLSafeSerializer:
    keys = [*current_app.config["SECRET_KEY_FALLBACKS"], current_app.config["SECRET_KEY"]]
    return URLSafeSerializer(keys, salt="known browser's names")  # the last key signs
