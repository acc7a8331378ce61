"""The pages of this app. All but the public ones need a user who is signed in."""

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
    """Add the pages to `app`. They send requests to Katana's API through `session`."""
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
