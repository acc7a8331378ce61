"""flask keys: a new key takes over while everything runs."""

import pytest
from flask import Flask

from app import connections
from app.connections.fleet.key_rotation import BATCH, KeyRotation, SealedTokens
from app.connections.models import EventKind
from app.connections.vault import AssociatedData, Vault, sealed_by
from app.credentials import TokenKey
from app.database.db import db
from app.settings.config import load
from tests.conftest import MakeApp, new_secrets
from tests.support.clocks import HeldClock
from tests.support.commands import on_a_terminal, run
from tests.support.connected import Connected, MakeConnected
from tests.support.crowds import crowd
from tests.support.staging import die_with_a_response

LOST = Vault([TokenKey("lost", b"0123456789abcdef" * 2)])


@pytest.fixture
def rotated(environ: dict[str, str]) -> dict[str, str]:
    """The settings with a new key in front of the one that has sealed until now."""
    new = new_secrets()["TOKEN_ENCRYPTION_KEYS"].replace("test:", "new:")
    return environ | {"TOKEN_ENCRYPTION_KEYS": f"{new},{environ['TOKEN_ENCRYPTION_KEYS']}"}


@pytest.fixture
def new_kid(rotated: dict[str, str]) -> str:
    """The name of the new key."""
    return load(rotated).token_keys[0].kid


@pytest.fixture
def rotating(new_app: MakeApp, rotated: dict[str, str]) -> Flask:
    """The app with the new key in front."""
    return new_app(**rotated)


def kids(connected: Connected) -> set[str]:
    """The keys that a connection needs."""
    row = connected.row()
    return {sealed_by(row.sealed_access_token), sealed_by(row.sealed_refresh_token)}


def test_after_it_the_old_key_may_go(
    new_app: MakeApp,
    rotating: Flask,
    new_connected: MakeConnected,
    rotated: dict[str, str],
    new_kid: str,
) -> None:
    """Every token is sealed anew, none is lost, and the command says which keys may go."""
    everybody = [new_connected(name) for name in ("ada", "bea")]

    told = run(rotating, "keys", "rotate")

    assert told.status == 0
    assert "Values sealed anew: 4." in told.output
    assert "these may go: test." in told.output
    assert all(kids(one) == {new_kid} for one in everybody)
    key, _ = rotated["TOKEN_ENCRYPTION_KEYS"].split(",")
    alone = new_app(**rotated | {"TOKEN_ENCRYPTION_KEYS": key})
    for one in everybody:
        assert run(alone, "connections", "refresh", str(one.id)).status == 0


def test_it_can_be_run_any_number_of_times(rotating: Flask, new_connected: MakeConnected) -> None:
    """What is done stays done; what has come since is done then."""
    new_connected("ada")
    run(rotating, "keys", "rotate")
    new_connected("bea")

    assert "Values sealed anew: 2." in run(rotating, "keys", "rotate").output
    assert "Values sealed anew: 0." in run(rotating, "keys", "rotate").output


def test_every_batch_is_reached(rotating: Flask, new_connected: MakeConnected) -> None:
    """However many there are, and in lines for a log."""
    connected = new_connected()
    crowd(rotating, connected.vault, BATCH * 2)

    told = run(rotating, "keys", "rotate")

    total = BATCH * 2 + 1
    assert told.output.splitlines()[:3] == [
        f"Sealing: {done} of {total}" for done in (BATCH, BATCH * 2, total)
    ]
    assert f"Values sealed anew: {total * 2}." in told.output


def test_what_does_not_open_is_named_and_left(
    rotating: Flask, new_connected: MakeConnected, new_kid: str
) -> None:
    """A poison row stops nothing, is not changed, and makes the status 1."""
    (poisoned,) = crowd(rotating, LOST, 1)
    other = new_connected()

    told = run(rotating, "keys", "rotate")

    assert told.status == 1
    assert f"connection {poisoned}: no key 'lost' in TOKEN_ENCRYPTION_KEYS" in told.output
    assert f"Still needed beside {new_kid}: lost (for 2)." in told.output
    assert kids(other) == {new_kid}


@pytest.mark.both_databases
def test_a_refresh_in_between_wins(
    rotating: Flask, new_connected: MakeConnected, rotated: dict[str, str], new_kid: str
) -> None:
    """What is saved after the value was read is not overwritten, and is sealed anew in its turn."""
    connected = new_connected()

    class Overtaken(Vault):
        """Somebody with the old key in front refreshes between reading and exchanging, once."""

        def reseal(self, sealed: bytes, aad: AssociatedData) -> bytes:
            if connected.row().generation == 1:
                run(connected.app, "connections", "refresh", str(connected.id))
            return super().reseal(sealed, aad)

    with rotating.app_context():
        engine = db.engine
    (batch,) = KeyRotation(engine, SealedTokens(engine), Overtaken(load(rotated).token_keys)).run()

    assert (batch.connections, batch.values, batch.broken) == (1, 2, {})
    assert kids(connected) == {new_kid}
    connected.settings = load(rotated)
    assert connected.holds_the_living_token()


@pytest.mark.slow
@pytest.mark.one_database
def test_on_a_terminal_it_draws_a_bar(
    new_connected: MakeConnected, rotated: dict[str, str]
) -> None:
    """Somebody who watches sees it move."""
    new_connected()

    shown = on_a_terminal(rotated, "keys", "rotate")

    assert "1/1" in shown
    assert "Values sealed anew: 2." in shown


def test_a_staged_response_comes_under_the_new_key(
    app: Flask, rotating: Flask, new_connected: MakeConnected, new_kid: str
) -> None:
    """A token that waits in a file is stored and sealed anew; one that cannot be is told of."""
    ada, clock = new_connected("ada"), HeldClock()
    with app.app_context():
        staged = connections.current().staged
    die_with_a_response(ada, clock, staged)
    damaged = staged.path("damaged", 1)
    damaged.write_text("{")

    told = run(rotating, "keys", "rotate")
    damaged.unlink()

    assert told.status == 1
    assert "keep every key" in told.output
    assert staged.count() == 0
    assert kids(ada) == {new_kid}
    assert ada.history()[-1] == (EventKind.REFRESHED, "recovered")
