"""Rules for every page: sign-in by default, CSRF protection, security headers."""

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, redirect, request, url_for
from flask_login import current_user  # type: ignore[import-untyped]
from flask_wtf import CSRFProtect  # type: ignore[import-untyped]
from flask_wtf.csrf import CSRFError  # type: ignore[import-untyped]
from werkzeug.exceptions import BadRequest, Forbidden, Unauthorized
from werkzeug.wrappers import Response as AnyResponse

from app.settings.config import Settings

#: The public pages. Every other page, also a fork's new one, needs a signed-in user.
PUBLIC = frozenset(
    {
        "static",
        "dashboard.landing",
        "accounts.sign_up",
        "accounts.sign_up_submit",
        "accounts.sign_in",
        "accounts.sign_in_submit",
        "accounts.sign_out",
        # A POST from Katana's page carries no cookie. The GET that follows checks the user.
        "connect.callback",
        "connect.callback_posted",
        # Protected by a secret key in its address and by a signature.
        "webhooks.deliver",
        "health.up",
        "health.ready",
        # Protected by its own token.
        "metrics.metrics",
    }
)
#: Requests from Katana's site. `state` protects the first, a signature the second.
FROM_ELSEWHERE = frozenset({"connect.callback_posted", "webhooks.deliver"})
YEAR_SECONDS = 365 * 24 * 3600

csrf = CSRFProtect()


class TwoSessions(BadRequest):
    """A browser sent more than one session cookie."""


def init_app(app: Flask, settings: Settings) -> None:
    """Add the checks to `app`, in the order in which they run."""
    app.before_request(refuse_two_sessions)
    app.before_request(refuse_other_sites)
    app.before_request(refuse_strangers)
    csrf.init_app(app)
    app.after_request(_headers(settings))


def refuse_two_sessions() -> None:
    """Refuse two session cookies: one was planted, and it is unknown which (RFC 6265bis 8.6).

    Another app on the same domain, or on another port of this machine, can set a cookie for one
    path of this app only. On that path the user would connect their Katana account to the
    attacker's account.
    """
    if len(request.cookies.getlist(current_app.config["SESSION_COOKIE_NAME"])) > 1:
        raise TwoSessions


def refuse_other_sites() -> None:
    """Defence in depth beside the CSRF token: browsers report where a form was sent from."""
    if request.method in {"GET", "HEAD"} or request.endpoint in FROM_ELSEWHERE:
        return

    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site not in {None, "same-origin", "none"} or not _is_ours(origin, site):
        raise Forbidden

    # Over https a browser sends at least one of these three headers, unless it is set to hide them.
    referer = f"{request.headers.get('Referer', '')}/"
    if request.is_secure and not (site or origin or referer.startswith(request.host_url)):
        raise CSRFError


def _is_ours(origin: str | None, site: str | None) -> bool:
    # A page that hides its Referer sends the Origin "null". Then Sec-Fetch-Site is required too.
    if origin is None or (origin == "null" and site is not None):
        return True

    return origin.partition("://")[2] == request.host


def refuse_strangers() -> AnyResponse | None:
    """Only the pages in PUBLIC are open to all. An unknown URL gets a 404."""
    if request.endpoint in PUBLIC | {None} or current_user.is_authenticated:
        return None

    if request.method in {"GET", "HEAD"}:
        return redirect(url_for("accounts.sign_in"), 303)

    raise Unauthorized


def _headers(settings: Settings) -> Callable[[Response], Response]:
    fixed = _fixed_headers(settings)

    def add_headers(response: Response) -> Response:
        for name, value in fixed.items():
            response.headers.setdefault(name, value)
        if request.endpoint != "static" or response.status_code >= 400:
            response.headers["Cache-Control"] = "no-store"
            response.vary.add("Cookie")
        return response

    return add_headers


def _fixed_headers(settings: Settings) -> Mapping[str, str]:
    # Katana's origin is for browsers that get a redirect after the Connect form (pages/connect.py).
    policy = (
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        f"form-action 'self' {_origin(settings.katana.authorize_url)}",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
    headers = {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        # Not no-referrer: over https the CSRF check needs the Origin or the Referer of a form.
        "Referrer-Policy": "same-origin",
    }
    if settings.https:
        headers["Strict-Transport-Security"] = f"max-age={YEAR_SECONDS}; includeSubDomains"
    return headers


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
