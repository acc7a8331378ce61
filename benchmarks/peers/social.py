"""social-core with its SQLAlchemy storage for Flask: reads a stored token.

As documented on python-social-auth.readthedocs.io/en/latest/: configuration/flask.html (the models)
and use_cases.html (`user.social_auth`, `access_token`). It has an index on `user_id`.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from flask import Flask
from social_flask_sqlalchemy.models import PSABase, UserSocialAuth, init_social
from sqlalchemy import Column, Integer, cast, create_engine
from sqlalchemy.orm import declarative_base, scoped_session, sessionmaker

from benchmarks import databases
from benchmarks.peers import Pair

Base: Any = declarative_base()


class User(Base):
    """The app's own table, reduced to what is needed here."""

    __tablename__ = "users"
    id = Column(Integer, primary_key=True)


class SocialCore:
    """Stores tokens in `extra_data`, a JSON text."""

    def __init__(self, database_url: str, login_url: str) -> None:
        self.engine = create_engine(databases.with_driver(database_url))
        self.session = scoped_session(sessionmaker(self.engine))
        app = Flask(__name__)
        app.config["SOCIAL_AUTH_USER_MODEL"] = f"{__name__}.User"
        if "user" not in UserSocialAuth.__dict__ or UserSocialAuth.user is None:
            init_social(app, self.session)

    def create(self) -> None:
        PSABase.metadata.create_all(self.engine, [UserSocialAuth.__table__])

    def store(self, pairs: Mapping[int, Pair], life: float) -> None:
        for number, pair in pairs.items():
            data = {"access_token": pair.access, "refresh_token": pair.refresh, "expires": life}
            row = UserSocialAuth(provider="katana", uid=str(number), user_id=number)
            row.extra_data = data
            self.session.add(row)
        self.session.commit()
        self.session.remove()

    def fill(self, first: int, last: int) -> None:
        number = databases.numbers(first, last)
        filler = databases.token("filler")
        table = UserSocialAuth.__table__
        values = {
            "provider": "katana",
            "extra_data": {"access_token": filler, "refresh_token": filler, "expires": 0},
            "uid": cast(number.c.n, table.c.uid.type),
            "user_id": number.c.n,
        }
        databases.fill_table(self.engine, table, values, number)

    def token(self, number: int) -> str:
        user = SimpleNamespace(id=number)
        UserSocialAuth._set_session(self.session)  # its models support one database at a time
        social = UserSocialAuth.get_social_auth_for_user(user, provider="katana").one()
        token = str(social.access_token)
        self.session.remove()  # as at the end of a request
        return token

    def call(self, number: int) -> str:
        raise NotImplementedError

    def stored(self, number: int) -> Pair:
        raise NotImplementedError

    def close(self) -> None:
        self.engine.dispose()
