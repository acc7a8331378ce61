"""Alternatives to this app, each used as its own documentation shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

#: The address of the API. Requests to it are answered in this process, by peers/on_the_spot.py.
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
        """Use this database and this login server."""

    def create(self) -> None:
        """Create its tables. The app's tables exist already."""

    def store(self, pairs: Mapping[int, Pair], life: float) -> None:
        """Store these; the access tokens expire in `life` seconds."""

    def fill(self, first: int, last: int) -> None:
        """Store a row for each user with these numbers, quickly."""

    def token(self, number: int) -> str:
        """The user's access token as it is stored."""

    def call(self, number: int) -> str:
        """The access token used for a call to the API, refreshed if it has expired."""

    def stored(self, number: int) -> Pair:
        """The tokens that are stored now."""

    def close(self) -> None:
        """Close the database connections."""


PEERS = {
    "this app": "this_app:ThisApp",
    "slack_sdk": "slack:SlackSdk",
    "Flask-Dance": "flask_dance_storage:FlaskDance",
    "social-core": "social:SocialCore",
    "Authlib": "authlib_client:AuthlibClient",
}


def peer(name: str, database_url: str, login_url: str = "https://login.bench.invalid") -> Peer:
    """The peer with this name. Its package is imported only now."""
    module, _, kind = PEERS[name].partition(":")
    made: Peer = getattr(import_module(f"benchmarks.peers.{module}"), kind)(database_url, login_url)
    return made
