"""flask doctor: a database, keys and connections that are amiss."""

from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text, update

from app.connections.circuit_breaker import REFUSALS
from app.connections.models import Connection
from app.connections.vault import Vault
from app.credentials import TokenKey
from app.database.db import db
from app.operations.doctor.database import NETWORK_DISKS, filesystem
from tests.conftest import MakeApp, new_secrets
from tests.support.connected import Connected
from tests.support.crowds import crowd
from tests.support.examined import Report, execute
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.own_stage

LOST = Vault([TokenKey("lost", b"0123456789abcdef" * 2)])


@pytest.mark.parametrize(
    ("revision", "says"), [("", "older"), ("29991231_from_the_future", "newer")]
)
def test_tables_of_another_code_are_found(healthy: MakeApp, revision: str, says: str) -> None:
    """Older tables need an upgrade, newer ones the code that made them."""
    app = healthy()
    execute(
        app,
        text("DELETE FROM alembic_version")
        if not revision
        else text("UPDATE alembic_version SET version_num = :v").bindparams(v=revision),
    )

    report = Report(app)

    assert ("migrations", "fault") in report.amiss()
    assert says in report.says("migrations")


@pytest.mark.one_database
def test_a_read_only_file_is_found(healthy: MakeApp, database_url: str) -> None:
    """Without writing no token can be renewed."""
    file = database_url.removeprefix("sqlite:///")

    report = Report(healthy(DATABASE_URL=f"sqlite:///file:{file}?mode=ro&uri=true"))

    assert ("writing", "fault") in report.amiss()


def set_up(app: Flask, setting: str) -> None:
    """Let the database be set up otherwise for every new connection."""
    with app.app_context():
        name = db.engine.url.database
    execute(app, text(f'ALTER DATABASE "{name}" SET {setting}'))


@pytest.mark.one_database("postgresql")
def test_a_replica_is_found(healthy: MakeApp) -> None:
    """What cannot be written cannot be used."""
    set_up(healthy(), "default_transaction_read_only = on")

    assert ("writing", "fault") in Report(healthy()).amiss()


@pytest.mark.one_database("postgresql")
def test_the_app_asks_for_the_isolation_that_it_is_made_for(healthy: MakeApp) -> None:
    """Whatever the database is set up for, doctor sees what the app gets."""
    set_up(healthy(), "default_transaction_isolation = 'serializable'")

    assert ("isolation", "fault") not in Report(healthy()).amiss()


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "ext4"])
def test_the_kind_of_disk_is_told_by_the_nearest_mount(kind: str) -> None:
    """The table of mounts says it, spaces in names included; the deepest mount counts."""
    mounts = f"/dev/a / ext3 rw 0 0\nhost:/b /srv/my\\040data {kind} rw 0 0\nproc /proc proc rw 0 0"

    assert filesystem(Path("/srv/my data/app.db"), mounts) == kind
    assert filesystem(Path("/srv/my database/app.db"), mounts) == "ext3"
    assert (kind in NETWORK_DISKS) == (kind != "ext4")


def test_a_missing_key_is_found(healthy: MakeApp) -> None:
    """Tokens whose key is gone are counted, with the key's name."""
    app = healthy()
    crowd(app, LOST, 3)

    report = Report(app)

    assert ("keys", "fault") in report.amiss()
    assert "lost (6)" in report.says("keys")


def test_an_unfinished_change_of_keys_is_found(
    healthy: MakeApp, environ: dict[str, str], sandbox: Sandbox
) -> None:
    """While an older key is still needed, doctor says what to run."""
    Connected(healthy(), sandbox, environ)
    new = new_secrets()["TOKEN_ENCRYPTION_KEYS"].replace("test:", "new:")

    report = Report(healthy(TOKEN_ENCRYPTION_KEYS=f"{new},{environ['TOKEN_ENCRYPTION_KEYS']}"))

    assert ("keys", "warning") in report.amiss()
    assert "older keys: test" in report.says("keys")


def test_a_copied_token_is_found(
    healthy: MakeApp, environ: dict[str, str], sandbox: Sandbox
) -> None:
    """A token that was pasted into another row does not open there."""
    app = healthy()
    ada, bea = (Connected(app, sandbox, environ, name) for name in ("ada", "bea"))
    copied = ada.row().sealed_refresh_token
    execute(
        app,
        update(Connection).where(Connection.id == bea.id).values(sealed_refresh_token=copied),
    )

    report = Report(app)

    assert ("opening", "fault") in report.amiss()
    assert str(bea.id) in report.says("opening")


def test_connections_that_nobody_keeps_alive_are_found(
    healthy: MakeApp, environ: dict[str, str], sandbox: Sandbox
) -> None:
    """A refresh that is overdue is told with its age."""
    app = healthy()
    crowd(app, Connected(app, sandbox, environ).vault, 1)

    report = Report(app)

    assert ("connections", "warning") in report.amiss()
    assert "2 active, 0 reconnect_needed. The oldest was last renewed 29 days ago" in report.says(
        "connections"
    )


def test_an_incident_at_katana_is_told(
    healthy: MakeApp, environ: dict[str, str], sandbox: Sandbox
) -> None:
    """Many refusals in a row are told for what they are."""
    app = healthy()
    for n in range(REFUSALS):
        Connected(app, sandbox, environ, f"maker{n}").change(refused_at=1)

    report = Report(app)

    assert ("connections", "warning") in report.amiss()
    assert "refuses many in a row" in report.says("connections")


@pytest.mark.parametrize("column", ["next_attempt_at", "expires_at", "refreshed_at", "refused_at"])
def test_moments_too_far_ahead_are_named(
    healthy: MakeApp, connected: Connected, column: str
) -> None:
    """13: the database's clock was ahead when they were written; the connection is named."""
    connected.change(**{column: 1000 * 24 * 3600})

    report = Report(healthy())

    assert ("moments", "warning") in report.amiss()
    assert str(connected.id) in report.says("moments")
