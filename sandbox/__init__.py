"""The sandbox: a strict local server that behaves like Katana's login and API.

It is a second app, which imports nothing from `app` and is used over HTTP only. It keeps everything
in memory, and listens on loopback only. docs/make-it-yours.md says how to remove it.
"""

from flask import Flask

from sandbox import (
    api,
    authorize_pages,
    controls,
    happening_controls,
    ledger_page,
    middleware,
    order_api,
    page_security,
    token_endpoint,
    webhook_api,
    webhook_controls,
    webhook_logs,
)
from sandbox.clock import Clock, SystemClock
from sandbox.state import Client, Sandbox


def create_sandbox(
    *,
    client_id: str,
    client_secret: str,
    redirect_uri: str,
    audience: str = "https://api.katanamrp.com",
    clock: Clock | None = None,
    authority: str | None = None,
) -> Flask:
    """Return a sandbox in which one client is registered, with one redirect URI.

    `authority` is a file with the CA certificate by which the client's webhook URLs are verified.
    """
    app = Flask(__name__)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config["MAX_CONTENT_LENGTH"] = 64 * 1024
    client = Client(client_id, client_secret, redirect_uri, audience, authority)
    app.extensions["sandbox"] = Sandbox(client, clock or SystemClock())

    page_security.init_app(app)
    middleware.init_app(app)
    for part in (
        ledger_page,
        controls,
        happening_controls,
        authorize_pages,
        token_endpoint,
        webhook_api,
        order_api,
        webhook_controls,
        webhook_logs,
        api,
    ):
        app.register_blueprint(part.bp)
    return app
