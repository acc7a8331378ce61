"""This app, used as its README shows: `fresh_access_token()`."""

import os
from collections.abc import Mapping

from sqlalchemy import select

from app import connections, create_app
from app.connections import sealed_grant
from app.connections.models import Connection
from app.database.db import db
from benchmarks import databases
from benchmarks.peers import Pair


class ThisApp:
    """Uses its connections without its pages."""

    def __init__(self, database_url: str, login_url: str) -> None:
        settings = databases.environ(database_url)
        settings["KATANA_ACCESS_TOKEN_URL"] = f"{login_url}/oauth/token"
        # All processes need the same keys, from the environment.
        settings["TOKEN_ENCRYPTION_KEYS"] = os.environ["TOKEN_ENCRYPTION_KEYS"]
        app = create_app(settings)
        app.app_context().push()
        self._begin()

    @classmethod
    def current(cls) -> "ThisApp":
        """The app of the current context."""
        made = cls.__new__(cls)
        made._begin()
        return made

    def _begin(self) -> None:
        self.engine = db.engine
        self._parts = connections.current()

    def create(self) -> None:
        """Nothing: the app's migrations have created the tables."""

    def store(self, pairs: Mapping[int, Pair], life: float) -> None:
        tokens = {number: (pair.access, pair.refresh) for number, pair in pairs.items()}
        databases.store(self.engine, tokens, life=life)

    def fill(self, first: int, last: int) -> None:
        databases.fill(self.engine, first, last)

    def count(self) -> int:
        """The number of connections."""
        return self._parts.sealed_tokens.count()

    def token(self, number: int) -> str:
        return self._parts.refresh.fresh_access_token(databases.id_of(number))

    def call(self, number: int) -> str:
        return self.token(number)

    def stored(self, number: int) -> Pair:
        columns = (Connection.id, Connection.sealed_access_token, Connection.sealed_refresh_token)
        with self.engine.connect() as connection:
            row = connection.execute(select(*columns).where(Connection.user_id == number)).one()
        vault = self._parts.vault
        return Pair(
            vault.open(row[1], sealed_grant.access_token_aad(row[0], number)),
            vault.open(row[2], sealed_grant.refresh_token_aad(row[0], number)),
        )

    def close(self) -> None:
        self.engine.dispose()
