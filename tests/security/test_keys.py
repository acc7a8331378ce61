"""Keys and sealed tokens, attacked from outside: S-41 to S-43, each test named by its item."""

import base64
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select, text, update

from app import connections
from app.connections import sealed_grant, start_up
from app.connections.models import Connection
from app.connections.vault import Vault
from app.credentials import TokenKey
from app.database.clock import SystemClock
from app.database.db import db
from app.errors import ConfigurationError
from app.settings.config import ROOT, SETTINGS
from tests.conftest import MakeApp
from tests.support.actors import ClientBrowser, Maker, WireBrowser
from tests.support.clones import Clone
from tests.support.commands import ended, flask, run
from tests.support.connected import MakeConnected
from tests.support.crowds import crowd
from tests.support.rig import Rig
from tests.support.sandbox import Sandbox
from tests.support.servers import gunicorn, listening

END_SECONDS = 60
LOOKS = 10


def new_key(kid: str) -> str:
    """A fresh key of this name, as in TOKEN_ENCRYPTION_KEYS."""
    return f"{kid}:{base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}"


def refusal(environ: Mapping[str, str], folder: Path = ROOT) -> str:
    """What gunicorn says when it ends by itself; AssertionError where it serves."""
    served = subprocess.run(
        (sys.executable, "-m", "gunicorn", "wsgi:app"),
        cwd=folder,
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


ALDER, WICK = "Alder &amp; Spoke Bicycles", "Tallow &amp; Wick"
CANARY = "canary-5d07e2-0123456789"


def make_due(app: Flask) -> None:
    """Let whoever comes by renew the connections, whose tokens are still good."""
    now = SystemClock().database_time
    with app.app_context():
        db.session.execute(
            update(Connection).values(
                renew_at=now(-1), next_attempt_at=None, sent_at=None, doubtful_since=None
            )
        )
        db.session.commit()


ENVIRON = {
    "KATANA_CLIENT_ID": "workshop",
    "KATANA_CLIENT_SECRET": f"{CANARY}-client",
    "KATANA_REDIRECT_URI": "https://workshop.test/katana/callback",
    "SECRET_KEY": f"{CANARY}-signing-abcdefghijklmnop",
    "SECRET_KEY_FALLBACKS": f"{CANARY}-earlier-abcdefghijklmnop",
    "TOKEN_ENCRYPTION_KEYS": f"k1:{base64.b64encode(f'{CANARY}-sealing'.encode()).decode()}",
    "DATABASE_URL": f"postgresql://user:{CANARY}@host/app",
    "RATELIMIT_STORAGE_URI": f"memory://:{CANARY}@host",
}

Tokens = tuple[bytes, bytes]
#: What somebody who can write to the database does to Ada's two tokens, given Bea's.
TAMPERING: dict[str, Callable[[Tokens, Tokens], Tokens]] = {
    "Bea's": lambda _ada, bea: bea,
    "Bea's access token": lambda ada, bea: (bea[0], ada[1]),
    "exchanged": lambda ada, _bea: (ada[1], ada[0]),
    "a bit": lambda ada, _bea: (ada[0][:-1] + bytes([ada[0][-1] ^ 1]), ada[1]),
    "cut": lambda ada, _bea: (ada[0][:-1], ada[1][:-1]),
    "nothing": lambda _ada, _bea: (b"", b""),
    "plain": lambda _ada, _bea: (b"plain-access-token", b"plain-refresh-token"),
    "another key's name": lambda ada, _bea: (ada[0][:2] + b"tset" + ada[0][6:], ada[1]),
}


def test_s41_a_token_opens_in_its_own_place_alone(rig: Rig) -> None:
    """S-41: whatever was pasted into her row, Ada sees no other's data and loses nothing; Bea, and
    Katana, notice nothing."""
    ada, bea = rig.maker("ada"), rig.maker("bea")
    for maker, factory in ((ada, None), (bea, "tallow-and-wick")):
        maker.sign_up()
        maker.connect(factory=factory)
    own, hers = tokens_of(rig, ada), tokens_of(rig, bea)

    for what, tamper in TAMPERING.items():
        store(rig, ada, tamper(own, hers))
        asked = len(rig.sandbox.ledger().of("api"))
        page = ada.dashboard()
        assert page.status in {200, 500}, what
        assert WICK not in page.text, what
        assert len(rig.sandbox.ledger().of("api")) == asked, what
        assert WICK in bea.dashboard().text, what

    store(rig, ada, own)
    assert ALDER in ada.dashboard().text
    assert [family.state for family in rig.sandbox.ledger().families] == ["live", "live"]
    assert not rig.sandbox.ledger().of("refresh")


def tokens_of(rig: Rig, maker: Maker) -> Tokens:
    """A maker's tokens as they are stored."""
    with rig.app.app_context():
        found = db.session.execute(
            text(
                "SELECT sealed_access_token, sealed_refresh_token FROM connections "
                "JOIN users ON users.id = user_id WHERE email = :email"
            ),
            {"email": maker.email},
        ).one()
    return bytes(found[0]), bytes(found[1])


def store(rig: Rig, maker: Maker, tokens: Tokens) -> None:
    """Put these into the row of `maker`, by SQL."""
    with rig.app.app_context():
        db.session.execute(
            text(
                "UPDATE connections SET sealed_access_token = :access, "
                "sealed_refresh_token = :refresh, next_attempt_at = NULL "
                "WHERE user_id = (SELECT id FROM users WHERE email = :email)"
            ),
            {"access": tokens[0], "refresh": tokens[1], "email": maker.email},
        )
        db.session.commit()


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
    start_up.check(app)
    connected.expire()
    assert run(app, "connections", "refresh", str(connected.id)).status == 0
    assert connected.holds_the_living_token()


def test_s42_a_key_that_was_taken_away_too_early_is_asked_for(
    app: Flask, new_connected: MakeConnected
) -> None:
    """S-42: the oldest tokens wait for it; that all newer ones open is not enough."""
    new_connected()
    lost = Vault([TokenKey("lost", secrets.token_bytes(32))])
    with app.app_context():
        vault = connections.current().vault
        oldest = crowd(app, vault, start_up.TRIED + 10)[:5]
        for connection in db.session.scalars(select(Connection).where(Connection.id.in_(oldest))):
            place = sealed_grant.access_token_aad(connection.id, connection.user_id)
            connection.sealed_access_token = lost.seal("unknown", place)
        db.session.commit()

    with pytest.raises(ConfigurationError, match="lacks the key 'lost'"):
        start_up.check(app)


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

    start_up.check(app)


def test_s42_without_a_database_the_keys_are_not_judged(new_app: MakeApp) -> None:
    """S-81: a database that is away, or has no tables yet, says nothing against a key."""
    for url in ("postgresql://nobody@127.0.0.1:9/nothing", "sqlite://"):
        start_up.check(new_app(DATABASE_URL=url))


@pytest.mark.slow
@pytest.mark.both_databases
def test_s42_keys_are_changed_beside_live_traffic(
    app: Flask,
    new_app: MakeApp,
    sandbox: Sandbox,
    environ: dict[str, str],
    listener: socket.socket,
    tmp_path: Path,
) -> None:
    """S-42: servers with the old key first and with the new one renew everything again and again
    while `flask keys rotate` runs; nothing is lost, and then the new key is enough."""
    old, new = environ["TOKEN_ENCRYPTION_KEYS"], new_key("new")
    before, after = (
        environ | {"TOKEN_ENCRYPTION_KEYS": ring} for ring in (f"{old},{new}", f"{new},{old}")
    )
    sandbox.rules(requests_per_minute=100_000)
    with (
        listening() as another,
        gunicorn(before, listener, tmp_path / "before.log", workers=1) as one,
        gunicorn(after, another, tmp_path / "after.log", workers=1) as other,
        closing(WireBrowser(one.url)) as here,
        closing(WireBrowser(other.url)) as there,
    ):
        ada = Maker(here, sandbox)
        ada.sign_up()
        ada.connect()
        again = Maker(there, sandbox)
        again.sign_in()
        traffic = [threading.Thread(target=look, args=(app, maker)) for maker in (ada, again)]
        for thread in traffic:
            thread.start()
        while any(thread.is_alive() for thread in traffic):
            assert ended(flask(after, "keys", "rotate")).status == 0
        for thread in traffic:
            thread.join()
    assert ended(flask(after, "keys", "rotate")).status == 0

    alone = new_app(TOKEN_ENCRYPTION_KEYS=new)
    start_up.check(alone)
    ada = Maker(ClientBrowser(alone.test_client()), sandbox)
    ada.sign_in()
    sandbox.expire()
    assert ALDER in ada.dashboard().text
    (family,) = sandbox.ledger().families
    assert family.state == "live"
    assert len(family.refresh_tokens) > LOOKS
    assert not [token for token in family.refresh_tokens if token.presented > 1]


def look(app: Flask, maker: Maker) -> None:
    """Load the dashboard again and again, each time with a token that is to be renewed."""
    for _ in range(LOOKS):
        make_due(app)
        assert ALDER in maker.dashboard().text


WRONG = {
    "KATANA_CLIENT_SECRET": f"<{CANARY}>",
    "KATANA_REDIRECT_URI": f"http://{CANARY}.test/katana/callback",
    "KATANA_ACCESS_TOKEN_URL": f"http://{CANARY}.test/oauth/token",
    "SECRET_KEY": "canary",
    "SECRET_KEY_FALLBACKS": "canary-earlier",
    "TOKEN_ENCRYPTION_KEYS": "k1:Y2FuYXJ5",
    "DATABASE_URL": f"mysql://user:{CANARY}@host/app",
    "LOG_LEVEL": "canary",
}
WITH_USERS = {
    **ENVIRON,
    "KATANA_CLIENT_SECRET": ENVIRON["SECRET_KEY"],
    "FLASK_DEBUG": "1",
    "TESTING": "1",
    "AUTHLIB_INSECURE_TRANSPORT": "1",
}


@pytest.mark.short_form(1)
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (WRONG, [*WRONG, "KATANA_CLIENT_ID"]),
        (
            WITH_USERS,
            ["SECRET_KEY", "FLASK_DEBUG", "TESTING", "AUTHLIB_INSECURE_TRANSPORT"],
        ),
    ],
    ids=["wrong", "for developers"],
)
def test_s43_s74_wrong_settings_serve_nobody(
    clone: Clone, wrong: dict[str, str], named: list[str]
) -> None:
    """S-43, S-74: gunicorn ends, names every one of them at once, and no value."""
    said = refusal(dict.fromkeys(SETTINGS, " ") | wrong, clone.path)

    assert [name for name in named if f"- {name} " not in said] == []
    assert "canary" not in said.lower()
