"""Authlib's Flask client, which refreshes by itself, with an `update_token` hook.

As documented on docs.authlib.org/en/latest/client/frameworks.html (`fetch_token`, "Auto Update
Token" and its model) and client/flask.html.
"""

import time
from collections.abc import Mapping
from typing import Any

from authlib.integrations.flask_client import OAuth
from flask import Flask, g
from flask_sqlalchemy import SQLAlchemy

from benchmarks import databases
from benchmarks.peers import API_URL, CLIENT_ID, Pair
from benchmarks.peers.on_the_spot import answer_on_the_spot

db: Any = SQLAlchemy()


class OAuth2Token(db.Model):  # type: ignore[misc]
    """The model as documented, with an index on the columns of the look-up."""

    __tablename__ = "oauth2_tokens"
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(40))
    token_type = db.Column(db.String(40))
    access_token = db.Column(db.String(200), index=True)
    refresh_token = db.Column(db.String(200), index=True)
    expires_at = db.Column(db.Integer)
    user_id = db.Column(db.Integer, index=True)

    def to_token(self) -> dict[str, Any]:
        """In Authlib's format."""
        return {
            "access_token": self.access_token,
            "token_type": self.token_type,
            "refresh_token": self.refresh_token,
            "expires_at": self.expires_at,
        }


def fetch_token(name: str) -> dict[str, Any]:
    """The current user's token."""
    item = OAuth2Token.query.filter_by(name=name, user_id=g.user_id).first()
    return dict(item.to_token())


def update_token(
    name: str,
    token: Mapping[str, Any],
    refresh_token: str | None = None,
    access_token: str | None = None,
) -> None:
    """Store the tokens of a refresh."""
    if refresh_token:
        item = OAuth2Token.query.filter_by(name=name, refresh_token=refresh_token).first()
    else:
        item = OAuth2Token.query.filter_by(name=name, access_token=access_token).first()
    if item is None:
        return

    item.access_token = token["access_token"]
    item.refresh_token = token.get("refresh_token")
    item.expires_at = token["expires_at"]
    db.session.commit()


class AuthlibClient:
    """A Flask app with one registered client."""

    def __init__(self, database_url: str, login_url: str) -> None:
        self.app = Flask(__name__)
        self.app.config["SQLALCHEMY_DATABASE_URI"] = databases.with_driver(database_url)
        db.init_app(self.app)
        oauth = OAuth(self.app, fetch_token=fetch_token, update_token=update_token)
        self.client = oauth.register(
            "katana",
            client_id=CLIENT_ID,
            client_secret="secret",
            access_token_url=f"{login_url}/oauth/token",
            api_base_url=API_URL,
            client_kwargs={"token_endpoint_auth_method": "client_secret_post"},
            compliance_fix=answer_on_the_spot,
        )

    def create(self) -> None:
        with self.app.app_context():
            db.create_all()

    def store(self, pairs: Mapping[int, Pair], life: float) -> None:
        with self.app.app_context():
            for number, pair in pairs.items():
                db.session.add(
                    OAuth2Token(
                        name="katana",
                        token_type="Bearer",
                        access_token=pair.access,
                        refresh_token=pair.refresh,
                        expires_at=int(time.time() + life),
                        user_id=number,
                    )
                )
            db.session.commit()

    def fill(self, first: int, last: int) -> None:
        raise NotImplementedError

    def token(self, number: int) -> str:
        return self.stored(number).access

    def call(self, number: int) -> str:
        with self.app.app_context():
            g.user_id = number
            return str(self.client.get("me").text)

    def stored(self, number: int) -> Pair:
        with self.app.app_context():
            item = OAuth2Token.query.filter_by(user_id=number).one()
            return Pair(item.access_token, item.refresh_token)

    def close(self) -> None:
        with self.app.app_context():
            db.engine.dispose()
