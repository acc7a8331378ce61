"""Protects the sandbox's pages and buttons against requests from other sites."""

from urllib.parse import urlsplit

from flask import Flask, Response, g, render_template, request

# The buttons have no password, so only this machine may reach them.
# No `::1`: Werkzeug cannot compare an IPv6 address with its trusted hosts.
LOOPBACK_HOSTS = ("127.0.0.1", "localhost")

# Called by apps, with credentials of their own. All else is called by the sandbox's own pages.
_CALLED_BY_APPS = ("/v1/", "/oauth/")


def init_app(app: Flask) -> None:
    """Refuse requests from other sites, and add security headers to every response."""
    # Trusted hosts prevent DNS rebinding, by which another site becomes same-origin.
    app.config["TRUSTED_HOSTS"] = LOOPBACK_HOSTS
    app.before_request(refuse_other_sites)
    app.after_request(add_headers)


def allow_form_to(url: str) -> None:
    """Allow the forms of this response to lead to another site.

    Chromium applies `form-action` to the redirect after a POST too, so the consent page needs this.
    """
    parts = urlsplit(url)
    g.form_target = f"{parts.scheme}://{parts.netloc}"


def refuse_other_sites() -> tuple[str, int] | None:
    """Refuse a state-changing request that a page of another site has sent."""
    if request.method == "GET" or request.path.startswith(_CALLED_BY_APPS):
        return None
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return _refused()
    if request.headers.get("Origin", request.host_url.rstrip("/")) != request.host_url.rstrip("/"):
        return _refused()

    return None


def add_headers(response: Response) -> Response:
    """Add a policy that allows the sandbox's own style, script and forms, and nothing else."""
    form_action = f"'self' {g.get('form_target', '')}".strip()
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        f"img-src 'self'; form-action {form_action}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    # Not `no-referrer`: with it a browser sends `Origin: null`, and our own buttons would fail.
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _refused() -> tuple[str, int]:
    return render_template("refused.html", reason="Another site has sent this form."), 403
