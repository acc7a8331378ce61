"""How often the same thing may be tried: passwords, sign-ups, connects, callbacks.

Each limit stands at its view, behind what `security.py` asks of every request: a forged form uses
up nobody's tries.
"""

import time
from collections.abc import Callable
from math import ceil
from typing import Any

from flask import Flask, Response, request
from flask_limiter import Limiter
from flask_login import current_user  # type: ignore[import-untyped]
from limits.errors import StorageError
from werkzeug.wrappers import Response as AnyResponse

from app.accounts import device_cookies
from app.accounts.email_address import normal_email
from app.accounts.personal_data import account_key
from app.accounts.rate_limit_storage import DatabaseCounters
from app.accounts.visitor_address import visitor_key
from app.settings.config import Settings
from app.settings.parsing import store_options

# Wrong passwords. The first limit stops whoever sits at one address, the second a crowd of them,
# the third whoever goes through many accounts. A browser in which the account signed in lately has
# the first to itself and does not meet the others: guessing keeps no owner out.
ACCOUNT_HERE = "10 per 5 minutes"
ACCOUNT_ANYWHERE = "30 per 5 minutes; 100 per hour"
ADDRESS = "30 per minute"
# New accounts; and refused ones, since each of those asks whether an address has an account.
SIGN_UPS = "60 per minute; 300 per hour"
REFUSED_SIGN_UPS = "20 per 5 minutes"
# Wrong passwords of somebody who is signed in, and wants to delete the account.
DELETIONS = "10 per 5 minutes; 30 per hour"
DOWNLOADS = "20 per hour"
# Nobody presses a button as often as this.
CONNECTS = "1000 per hour"
JUNK_CALLBACKS = "120 per minute"

View = Callable[..., Any]

limiter = Limiter(key_func=lambda: _address())


def init_app(app: Flask, settings: Settings) -> None:
    """Make the limits hold for `app`, across all its workers."""
    (own,) = DatabaseCounters.STORAGE_SCHEME
    uri = settings.ratelimit_storage_uri
    app.config["RATELIMIT_STORAGE_URI"] = uri or f"{own}://"
    app.config["RATELIMIT_STORAGE_OPTIONS"] = store_options(uri) if uri else {}
    limiter.init_app(app)


def sign_ins(view: View) -> View:
    """Limit wrong passwords."""
    here = limiter.limit(ACCOUNT_HERE, key_func=_account_here, deduct_when=_refused)
    anywhere, address = (
        limiter.limit(limit, key_func=key, deduct_when=_refused, exempt_when=_is_known)
        for limit, key in ((ACCOUNT_ANYWHERE, _account), (ADDRESS, _address))
    )
    return here(anywhere(address(view)))


def sign_ups(view: View) -> View:
    """Limit new accounts."""
    refused = limiter.limit(REFUSED_SIGN_UPS, key_func=_address, deduct_when=_refused)
    return limiter.limit(SIGN_UPS, key_func=_address)(refused(view))


def deletions(view: View) -> View:
    """Limit wrong passwords of whoever sits at a browser that is signed in."""
    return limiter.limit(DELETIONS, key_func=_visitor, deduct_when=_refused)(view)


def downloads(view: View) -> View:
    """Limit downloads of all that is kept: each reads every row."""
    return limiter.limit(DOWNLOADS, key_func=_visitor)(view)


def connects(view: View) -> View:
    """Limit attempts to connect."""
    return limiter.limit(CONNECTS, key_func=_visitor)(view)


def callbacks(view: View) -> View:
    """Limit callbacks that nobody began; one visitor's junk stops no other."""
    return limiter.limit(JUNK_CALLBACKS, key_func=_visitor, deduct_when=_refused)(view)


def remember(response: AnyResponse) -> AnyResponse:
    """Let the account in the form be known in this browser from now on."""
    device_cookies.remember(response, _account())
    return response


def forget(response: AnyResponse, email: str) -> AnyResponse:
    """Let this browser not know the account any more."""
    device_cookies.forget(response, account_key(email))
    return response


def is_store_available() -> bool:
    """Whether the store of the limits answers; the database has checks of its own."""
    store = limiter.storage
    if isinstance(store, DatabaseCounters):
        return True

    try:
        return store.check()
    except StorageError:
        return False


def seconds_left() -> int:
    """How long the limit that was just met still holds."""
    limit = limiter.current_limit
    # Not its reset_at, which is up to a second later.
    return max(1, ceil(limit.window[0] - time.time())) if limit else 60


def _is_known() -> bool:
    return device_cookies.name_for(_account()) is not None


def _refused(response: Response) -> bool:
    return response.status_code in {400, 401, 422}


def _account_here() -> str:
    return f"{_account()}@{device_cookies.name_for(_account()) or _address()}"


def _account() -> str:
    return account_key(normal_email(request.form.get("email")))


def _visitor() -> str:
    return f"user-{current_user.id}" if current_user.is_authenticated else _address()


def _address() -> str:
    return visitor_key(request.remote_addr or "")
