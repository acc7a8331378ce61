"""slack_sdk: SQLAlchemyInstallationStore and TokenRotator.

As documented on docs.slack.dev/tools/python-slack-sdk/oauth (the store), and in the notes of
release 3.8.0 (`rotate_tokens`, called before every request is handled). Slack's login has its own
response format. The login server supports it at /slack/, with the same tokens.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime

from slack_sdk import WebClient
from slack_sdk.oauth.installation_store import Installation
from slack_sdk.oauth.installation_store.sqlalchemy import SQLAlchemyInstallationStore
from slack_sdk.oauth.token_rotation import TokenRotator
from sqlalchemy import cast, create_engine, func, literal

from benchmarks import databases
from benchmarks.peers import CLIENT_ID, Pair


class SlackSdk:
    """One team for each user."""

    def __init__(self, database_url: str, login_url: str) -> None:
        self.engine = create_engine(databases.with_driver(database_url))
        self.store_ = SQLAlchemyInstallationStore(client_id=CLIENT_ID, engine=self.engine)
        self.rotator = TokenRotator(
            client_id=CLIENT_ID,
            client_secret="secret",
            client=WebClient(base_url=f"{login_url}/slack/"),
        )

    def create(self) -> None:
        self.store_.create_tables()

    def store(self, pairs: Mapping[int, Pair], life: float) -> None:
        for number, pair in pairs.items():
            self.store_.save(
                Installation(
                    app_id="A1",
                    team_id=_team(number),
                    user_id="U1",
                    bot_token=pair.access,
                    bot_refresh_token=pair.refresh,
                    bot_token_expires_at=int(time.time() + life),
                    installed_at=datetime.now(UTC).timestamp(),
                )
            )

    def fill(self, first: int, last: int) -> None:
        number = databases.numbers(first, last)
        bots = self.store_.bots
        values = {
            "client_id": CLIENT_ID,
            "app_id": "A1",
            "team_id": literal("T") + cast(number.c.n, bots.c.team_id.type),
            "bot_token": databases.token("filler"),
            "bot_refresh_token": databases.token("filler"),
            "bot_token_expires_at": func.current_timestamp(),
            "bot_scopes": "",
            "is_enterprise_install": False,
            "installed_at": func.current_timestamp(),
        }
        databases.fill_table(self.engine, bots, values, number)

    def token(self, number: int) -> str:
        bot = self.store_.find_bot(enterprise_id=None, team_id=_team(number))
        assert bot
        return str(bot.bot_token)

    def call(self, number: int) -> str:
        installation = self.store_.find_installation(enterprise_id=None, team_id=_team(number))
        assert installation
        updated = self.rotator.perform_token_rotation(installation=installation)
        if updated is not None:
            self.store_.save(updated)
        return self.token(number)

    def stored(self, number: int) -> Pair:
        bot = self.store_.find_bot(enterprise_id=None, team_id=_team(number))
        assert bot
        return Pair(str(bot.bot_token), str(bot.bot_refresh_token))

    def close(self) -> None:
        self.engine.dispose()


def _team(number: int) -> str:
    return f"T{number}"
