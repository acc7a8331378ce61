"""Browsers in which an account signed in lately: whoever guesses its password locks no owner out.

Such a browser holds a cookie, and has tries of its own. The cookie opens nothing: it is worth a try
at the password. (OWASP: "Slow down online guessing attacks with device cookies".)
"""

import secrets
import time

from flask import current_app, request
from itsdangerous import BadData, URLSafeSerializer
from werkzeug.wrappers import Response

SECONDS = 30 * 24 * 3600
ACCOUNTS = 8  # of one browser, as at an office's one computer: a cookie cannot grow for ever

#: What an account is called in this browser, and since when (Unix seconds), the newest first.
Names = dict[str, tuple[str, int]]


def remember(response: Response, account: str) -> None:
    """Let `response` make this browser known to `account`, under a new name."""
    others = _without(account)
    _set(response, {account: (secrets.token_hex(8), int(time.time())), **others})


def forget(response: Response, account: str) -> None:
    """Let `response` take the name of `account` out of this browser's cookie."""
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
    """This browser's name; None where `account` did not sign in here lately."""
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
    return URLSafeSerializer(keys, salt="known browser's names")  # the last one signs
