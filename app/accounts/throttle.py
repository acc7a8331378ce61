"""Rate limits of sign-ins, sign-ups, deletions, downloads, connects and callbacks.

Each limit is a decorator of its view. It runs after the checks of `security.py`, so a forged form
does not count.
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

# Wrong passwords: per account and address, per account, and per address. A browser in which the
# account has signed in has its own count for the first limit, and the others do not apply to it. So
# an attacker cannot lock the owner out.
ACCOUNT_HERE = "10 per 5 minutes"
ACCOUNT_ANYWHERE = "30 per 5 minutes; 100 per hour"
ADDRESS = "30 per minute"
# New accounts; and refused sign-ups, since each can reveal whether an address has an account.
SIGN_UPS = "60 per minute; 300 per hour"
REFUSED_SIGN_UPS = "20 per 5 minutes"
# Wrong passwords in the form that deletes the account.
DELETIONS = "10 per 5 minutes; 30 per hour"
DOWNLOADS = "20 per hour"
# More than a person can press a button.
CONNECTS = "1000 per hour"
JUNK_CALLBACKS = "120 per minute"

View = Callable[..., Any]

limiter = Limiter(key_func=lambda: _address())


def init_app(app: Flask, settings: Settings) -> None:
    """Set up the limits for `app`, shared by all its workers."""
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
    """Limit wrong passwords in the form that deletes the account."""
    return limiter.limit(DELETIONS, key_func=_visitor, deduct_when=_refused)(view)


def downloads(view: View) -> View:
    """Limit exports of a user's data: each reads all rows of the user."""
    return limiter.limit(DOWNLOADS, key_func=_visitor)(view)


def connects(view: View) -> View:
    """Limit attempts to connect."""
    return limiter.limit(CONNECTS, key_func=_visitor)(view)


def callbacks(view: View) -> View:
    """Limit invalid callbacks, by visitor."""
    return limiter.limit(JUNK_CALLBACKS, key_func=_visitor, deduct_when=_refused)(view)


def remember(response: AnyResponse) -> AnyResponse:
    """Add the account in the form to this browser's device cookie."""
    device_cookies.remember(response, _account())
    return response


def forget(response: AnyResponse, email: str) -> AnyResponse:
    """Remove the account from this browser's device cookie."""
    device_cookies.forget(response, account_key(email))
    return response


def is_store_available() -> bool:
    """Whether the store of the limits responds; the database has its own check."""
    store = limiter.storage
    if isinstance(store, DatabaseCounters):
        return True

    try:
        return store.check()
    except StorageError:
        return False


def seconds_left() -> int:
    """Seconds until the limit that was just reached ends."""
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
