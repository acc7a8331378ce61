"""Turns every error into a page, and logs those that somebody has to act on.

No error page checks who is signed in, because the database may have failed.
"""

import logging
from dataclasses import replace
from math import ceil

from flask import Flask, Response, make_response, redirect, render_template, request, url_for
from flask_limiter import RateLimitExceeded
from flask_login import current_user  # type: ignore[import-untyped]
from flask_wtf.csrf import CSRFError  # type: ignore[import-untyped]
from limits.errors import StorageError
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, MethodNotAllowed, SecurityError
from werkzeug.wrappers import Response as WerkzeugResponse

from app.accounts import security_log, throttle
from app.accounts.security_log import Audit
from app.errors import ConnectError
from app.operations import logs
from app.pages.error_messages import (
    ANYTHING_ELSE,
    DATABASE_AWAY,
    FAILURES,
    FORGED,
    MINUTE,
    STATUSES,
    TWO_SESSIONS,
    Explanation,
)
from app.pages.security import TwoSessions

#: PostgreSQL raises InternalError while it is read-only, as in the middle of a failover.
#: StorageError is from the store of the rate limits, if it is not the database.
AWAY = (OperationalError, InterfaceError, InternalError, PoolTimeout, StorageError)

SIGNING_IN = {"accounts.sign_up_submit", "accounts.sign_in_submit"}

logger = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Register these pages for the errors of `app`."""
    app.register_error_handler(ConnectError, _failed)
    app.register_error_handler(HTTPException, _refused)
    app.register_error_handler(SecurityError, _wrong_host)
    app.register_error_handler(CSRFError, _forged)
    app.register_error_handler(TwoSessions, _two_sessions)
    app.register_error_handler(RateLimitExceeded, _too_often)
    for away in AWAY:
        app.register_error_handler(away, _database_away)


def explain(error: ConnectError) -> Explanation:
    """The page for `error`, which is also logged."""
    told = next(FAILURES[kind] for kind in type(error).__mro__ if kind in FAILURES)
    level = logging.ERROR if told.ours else logging.WARNING
    name = type(error).__name__
    fields = security_log.fields(Audit.FAILED, security_log.known_user_id(), name)
    logger.log(level, "%s: %s", name, error, extra=fields)
    seconds = getattr(error, "retry_after", None)
    return replace(told, retry_after=max(1, round(seconds))) if seconds else told


def _failed(error: ConnectError) -> Response:
    return _page(explain(error))


def _refused(error: HTTPException) -> Response:
    """Also for an unexpected error: Flask logs it and passes it on as a 500."""
    cause = getattr(error, "original_exception", None)
    if isinstance(cause, AWAY):  # if raised after the view, Flask calls no handler for it
        return _database_away(cause)

    told = STATUSES.get(error.code or 500, replace(ANYTHING_ELSE, status=error.code or 500))
    page = _page(told)
    if isinstance(error, MethodNotAllowed):
        page.headers["Allow"] = ", ".join(error.valid_methods or ())
    return page


def _forged(_error: CSRFError) -> Response | WerkzeugResponse:
    if request.endpoint in SIGNING_IN and current_user.is_authenticated:
        # The button was pressed twice. The first press signed this browser in, so the CSRF token of
        # the second one is no longer valid.
        return redirect(url_for("dashboard.dashboard"), 303)

    return _page(FORGED)


def _two_sessions(_error: TwoSessions) -> Response:
    logger.warning("a browser sent more than one session cookie")
    return _page(TWO_SESSIONS)


def _too_often(_error: RateLimitExceeded) -> Response:
    security_log.tell(Audit.THROTTLED, security_log.known_user_id(), request.endpoint)
    seconds = throttle.seconds_left()
    wait = f"{ceil(seconds / MINUTE)} minutes" if seconds > MINUTE else "a minute"
    signing_in = (request.endpoint or "").startswith("accounts.sign_in")
    why = ", so that nobody gets in by guessing" if signing_in else ""
    text = f"This app now waits a while{why}. Try again in {wait}."
    told = replace(STATUSES[429], text=text, retry_after=seconds)
    return _page(told)


def _database_away(error: Exception) -> Response:
    what = "store of the limits" if isinstance(error, StorageError) else "database"
    logger.error("the %s does not answer: %s", what, type(error).__name__)
    return _page(DATABASE_AWAY)


def _wrong_host(error: SecurityError) -> Response:
    # Plain text: a page would need links, and Flask builds none for a host that it does not trust.
    return Response(
        "This app is not at this address.\n", 400, content_type="text/plain; charset=utf-8"
    )


def _page(told: Explanation) -> Response:
    # It connects the user's page with the log lines of the request.
    reference = logs.request_id() if told.ours else None
    html = render_template("error.html", told=told, reference=reference)
    page = make_response(html, told.status)
    # Over https the CSRF check needs the origin of the page with the form, not its full URL.
    page.headers["Referrer-Policy"] = "strict-origin" if told.connect else "no-referrer"
    if told.retry_after:
        page.headers["Retry-After"] = str(told.retry_after)
    return page
