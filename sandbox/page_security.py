"""What keeps other sites away from the sandbox's pages and buttons."""

from urllib.parse import urlsplit

from flask import Flask, Response, g, render_template, request

# The buttons have no password, so only this machine may reach them.
# No `::1`: Werkzeug cannot compare an IPv6 address with its trusted hosts.
LOOPBACK_HOSTS = ("127.0.0.1", "localhost")

# What apps call from elsewhere, with a secret of their own; all else is pressed on our own pages.
_CALLED_BY_APPS = ("/v1/", "/oauth/")


def init_app(app: Flask) -> None:
    """Refuse presses from other sites, and send the headers with every answer."""
    # Naming the hosts ends DNS rebinding: a page elsewhere cannot become same-origin with us.
    app.config["TRUSTED_HOSTS"] = LOOPBACK_HOSTS
    app.before_request(refuse_other_sites)
    app.after_request(add_headers)


def allow_form_to(url: str) -> None:
    """Let the forms of this answer lead to another site.

    Chromium applies `form-action` to the redirect after a post too, so the consent page needs it.
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
    """Send a policy that allows our own style, script and forms, and nothing else."""
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
