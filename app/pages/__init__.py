"""The pages: what a browser sees of this app, closed to everybody who is not signed in."""

from flask import Flask
from requests import Session

from app.accounts import sessions, throttle, views
from app.operations import health, metrics, request_ids
from app.pages import (
    account,
    admission,
    connect,
    copy,
    dashboard,
    display,
    error_pages,
    katana_api,
    security,
    webhooks,
)
from app.settings.config import Settings


def init_app(app: Flask, settings: Settings, session: Session) -> None:
    """Give `app` its pages; `session` is what they ask Katana's API through."""
    admission.init_app(app)
    sessions.init_app(app)
    security.init_app(app, settings)
    throttle.init_app(app, settings)
    katana_api.init_app(app, settings, session)
    display.init_app(app)
    error_pages.init_app(app)
    health.init_app(app, settings)
    metrics.init_app(app, settings)
    request_ids.init_app(app, settings)
    for bp in (views.bp, connect.bp, dashboard.bp, copy.bp, webhooks.bp, health.bp, metrics.bp):
        app.register_blueprint(bp)
    app.register_blueprint(account.bp)
