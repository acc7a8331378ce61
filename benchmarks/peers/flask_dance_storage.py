"""Flask-Dance: OAuth2ConsumerBlueprint with SQLAlchemyStorage and automatic refresh.

As documented on flask-dance.readthedocs.io/en/latest/storages.html and multi-user.html (the model
and the storage), and /en/latest/api.html (`auto_refresh_url`, `auto_refresh_kwargs`).

Its model has no index on `user_id`, nor has the documented one. Each read would scan a million
rows, so an index is added here.
"""

import os
import threading
import time
from collections.abc import Mapping
from typing import Any

from flask import Flask
from flask_dance.consumer import OAuth2ConsumerBlueprint
from flask_dance.consumer.storage.sqla import OAuthConsumerMixin, SQLAlchemyStorage
from sqlalchemy import Column, ForeignKey, Index, Integer, create_engine, func
from sqlalchemy.orm import declarative_base, relationship, scoped_session, sessionmaker

from benchmarks import databases
from benchmarks.peers import API_URL, CLIENT_ID, Pair
from benchmarks.peers.on_the_spot import answer_on_the_spot

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # for a login on loopback, as documented

Base: Any = declarative_base()


class User(Base):
    """The app's own table, reduced to what is needed here."""

    __tablename__ = "users"
    id = Column(Integer, primary_key=True)


class OAuth(OAuthConsumerMixin, Base):
    """The model as documented."""

    user_id = Column(Integer, ForeignKey(User.id))
    user = relationship(User)


INDEX = Index("ix_flask_dance_oauth_user_id", OAuth.user_id)


class FlaskDance:
    """One blueprint for one provider."""

    def __init__(self, database_url: str, login_url: str) -> None:
        self.engine = create_engine(databases.with_driver(database_url))
        self.session = scoped_session(sessionmaker(self.engine))
        self.current = threading.local()  # stands for Flask-Login's current_user
        self.blueprint = OAuth2ConsumerBlueprint(
            "katana",
            __name__,
            client_id=CLIENT_ID,
            client_secret="secret",
            base_url=API_URL,
            token_url=f"{login_url}/oauth/token",
            auto_refresh_url=f"{login_url}/oauth/token",
            auto_refresh_kwargs={"client_id": CLIENT_ID, "client_secret": "secret"},
            storage=SQLAlchemyStorage(
                OAuth, self.session, user=lambda: getattr(self.current, "user", None)
            ),
        )
        answer_on_the_spot(self.blueprint.session)
        self.app = Flask(__name__)
        self.app.secret_key = "secret"
        self.app.register_blueprint(self.blueprint, url_prefix="/login")
        self.app.teardown_appcontext(lambda _error: self.session.remove())

    def create(self) -> None:
        OAuth.__table__.create(self.engine)

    def store(self, pairs: Mapping[int, Pair], life: float) -> None:
        for number, pair in pairs.items():
            self.session.add(OAuth(provider="katana", user_id=number, token=_token(pair, life)))
        self.session.commit()
        self.session.remove()

    def fill(self, first: int, last: int) -> None:
        number = databases.numbers(first, last)
        values = {
            "provider": "katana",
            "created_at": func.current_timestamp(),
            "token": _token(Pair(databases.token("filler"), databases.token("filler")), 0),
            "user_id": number.c.n,
        }
        databases.fill_table(self.engine, OAuth.__table__, values, number)

    def token(self, number: int) -> str:
        token: dict[str, Any] = self.blueprint.storage.get(self.blueprint, user_id=number)
        self.session.remove()  # as at the end of a request
        return str(token["access_token"])

    def call(self, number: int) -> str:
        with self.app.test_request_context():
            self.current.user = self.session.get(User, number)
            return str(self.blueprint.session.get("/me").text)

    def stored(self, number: int) -> Pair:
        token = self.session.query(OAuth).filter_by(user_id=number).one().token
        self.session.remove()
        return Pair(token["access_token"], token["refresh_token"])

    def close(self) -> None:
        self.engine.dispose()


def _token(pair: Pair, life: float) -> dict[str, Any]:
    return {
        "access_token": pair.access,
        "refresh_token": pair.refresh,
        "token_type": "Bearer",
        "expires_in": life,
        "expires_at": time.time() + life,
    }
