"""Secrets stay where they belong, seen from outside: S-37 to S-43, each test named by its item.

Everything here is over HTTP, against two workers, or by starting the real server.
"""

import base64
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping

import pytest
from flask import Flask
from sqlalchemy import text, update

from app import connections
from app.config import ROOT
from app.connections import keyring
from app.db import db
from app.errors import ConfigurationError
from app.models import Connection
from tests.commands import run
from tests.connected import Connected
from tests.crowds import crowd
from tests.sandbox import Sandbox

MakeApp = Callable[..., Flask]
MakeConnected = Callable[..., Connected]

END_SECONDS = 60


def new_key(kid: str) -> str:
    """A fresh key of this name, as in TOKEN_ENCRYPTION_KEYS."""
    return f"{kid}:{base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}"


def refusal(environ: Mapping[str, str]) -> str:
    """What gunicorn says when it ends by itself; AssertionError where it serves."""
    served = subprocess.run(
        (sys.executable, "-m", "gunicorn", "wsgi:app"),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "GUNICORN_BIND": "127.0.0.1:0", **environ},
        capture_output=True,
        text=True,
        timeout=END_SECONDS,
        check=False,
    )
    assert served.returncode != 0
    return served.stdout + served.stderr


def stored(app: Flask) -> list[tuple[object, ...]]:
    """Every connection, to the byte."""
    with app.app_context():
        return [tuple(row) for row in db.session.execute(text("SELECT * FROM connections"))]


@pytest.fixture
def new_connected(app: Flask, sandbox: Sandbox, environ: dict[str, str]) -> MakeConnected:
    """Makes users who are connected."""
    return lambda name="ada": Connected(app, sandbox, environ, name)


def test_s42_a_wrong_key_serves_nobody_and_touches_no_row(
    app: Flask, environ: dict[str, str], new_connected: MakeConnected
) -> None:
    """S-42: gunicorn ends and names the key; with the right one back everything works."""
    connected = new_connected()
    before, wrong = stored(app), new_key("test")

    said = refusal(environ | {"TOKEN_ENCRYPTION_KEYS": wrong})

    assert "TOKEN_ENCRYPTION_KEYS" in said
    assert "'test'" in said
    assert wrong.partition(":")[2] not in said
    assert stored(app) == before
    keyring.require(app)
    connected.expire()
    assert run(app, "connections", "refresh", str(connected.id)).status == 0
    assert connected.holds_the_living_token()


def test_s42_a_key_that_was_taken_away_too_early_is_asked_for(
    new_app: MakeApp, app: Flask, new_connected: MakeConnected
) -> None:
    """S-42: half of the tokens wait for it; that the newer half opens is not enough."""
    new_connected()
    lost = new_app(TOKEN_ENCRYPTION_KEYS=new_key("lost"))
    with lost.app_context():
        vault = connections.current().vault
    crowd(lost, vault, 5)

    with pytest.raises(ConfigurationError, match="lacks the key 'lost'"):
        keyring.require(app)


def test_s42_a_damaged_row_keeps_nobody_from_being_served(
    app: Flask, new_connected: MakeConnected
) -> None:
    """R-24: a row that opens with no key is one user's trouble, not everybody's."""
    new_connected("ada")
    poisoned = new_connected("bea")
    with app.app_context():
        db.session.execute(
            update(Connection)
            .where(Connection.id == poisoned.id)
            .values(sealed_access_token=b"\x01\x04lost", sealed_refresh_token=b"nothing")
        )
        db.session.commit()

    keyring.require(app)


def test_s42_without_a_database_the_keys_are_not_judged(new_app: MakeApp) -> None:
    """S-81: a database that is away, or has no tables yet, says nothing against a key."""
    for url in ("postgresql://nobody@127.0.0.1:9/nothing", "sqlite://"):
        keyring.require(new_app(DATABASE_URL=url))
