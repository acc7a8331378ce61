"""What one would use in place of this app, each used as its own documentation shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

#: Where the API would be. Requests to it are answered in this process, by peers/on_the_spot.py.
API_URL = "https://api.bench.invalid/"
CLIENT_ID = "bench"


@dataclass(frozen=True)
class Pair:
    """An access token and the refresh token that came with it."""

    access: str
    refresh: str


class Peer(Protocol):
    """Keeps the tokens of numbered users in a database."""

    def __init__(self, database_url: str, login_url: str) -> None:
        """Begin to work with the database and the login server."""

    def create(self) -> None:
        """Make its tables. The app's are there already."""

    def store(self, pairs: Mapping[int, Pair], life: float) -> None:
        """Keep these; the access tokens live for so many seconds more."""

    def fill(self, first: int, last: int) -> None:
        """Keep something for each user with these numbers, quickly."""

    def token(self, number: int) -> str:
        """The user's access token as it is stored."""

    def call(self, number: int) -> str:
        """The access token that a call to the API is made with, renewed where it has expired."""

    def stored(self, number: int) -> Pair:
        """What is stored now."""

    def close(self) -> None:
        """Let go of the database."""


PEERS = {
    "this app": "this_app:ThisApp",
    "slack_sdk": "slack:SlackSdk",
    "Flask-Dance": "flask_dance_storage:FlaskDance",
    "social-core": "social:SocialCore",
    "Authlib": "authlib_client:AuthlibClient",
}


def peer(name: str, database_url: str, login_url: str = "https://login.bench.invalid") -> Peer:
    """The peer of this name. Only then its package is imported."""
    module, _, kind = PEERS[name].partition(":")
    made: Peer = getattr(import_module(f"benchmarks.peers.{module}"), kind)(database_url, login_url)
    return made
