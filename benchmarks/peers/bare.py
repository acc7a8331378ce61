"""The smallest apps with a page: Flask only; Flask with SQLAlchemy and Authlib, as in a starter."""

import os

from authlib.integrations.flask_client import OAuth
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

PAGE = "<!doctype html><title>Bare</title><p>Hello</p>"


def page() -> Flask:
    """One page and nothing else."""
    app = Flask(__name__)
    app.add_url_rule("/", view_func=lambda: PAGE)
    return app


def starter() -> Flask:
    """The same page, with a database and a registered OAuth client."""
    app = page()
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
    app.secret_key = os.environ["SECRET_KEY"]
    SQLAlchemy(app)
    OAuth(app).register(
        "katana",
        client_id="bench",
        client_secret="secret",
        access_token_url="https://login.bench.invalid/oauth/token",
        authorize_url="https://login.bench.invalid/authorize",
        client_kwargs={"scope": "offline_access"},
    )
    return app
