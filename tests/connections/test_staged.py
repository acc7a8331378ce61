"""A token response that cannot be saved outlives its process, in a sealed file."""

import errno
import os
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete
from sqlalchemy.exc import OperationalError

from app.connections.history import values
from app.connections.leases import Lease, Leases
from app.connections.models import Connection, ConnectionEvent, EventKind
from app.connections.sealed_grant import SealedGrant
from app.connections.staged_responses import StagedResponses
from app.connections.vault import Vault
from app.database.db import db
from tests.support.clocks import HeldClock
from tests.support.connected import Connected
from tests.support.staging import die_with_a_response, refresh


class ComesBack(Leases):
    """The database takes the third save."""

    tries = 0

    def save(self, lease: Lease, sealed: SealedGrant, **how: Any) -> bool:
        self.tries += 1
        if self.tries < 3:
            raise OperationalError("UPDATE", {}, Exception("the database is away"))
        return super().save(lease, sealed, **how)


@pytest.fixture
def clock() -> HeldClock:
    """Time stands still unless it is moved."""
    return HeldClock()


@pytest.fixture
def staged(connected: Connected, tmp_path: Path) -> StagedResponses:
    """The files of this app's database."""
    return StagedResponses(tmp_path, connected.settings.database_url)


def test_the_next_process_stores_it(
    connected: Connected, clock: HeldClock, staged: StagedResponses
) -> None:
    """R-2, A2: killed while the database is away, nothing is lost; the file is the owner's alone.

    Of the same kind: a power cut, a container that is evicted, a worker that is ended by force.
    """
    file = die_with_a_response(connected, clock, staged)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "access-" not in file.read_text()
    refreshing = refresh(connected.parts(), staged)

    assert refreshing.store_staged() == 1

    assert connected.holds_the_living_token()
    assert connected.history()[-1] == (EventKind.REFRESHED, "recovered")
    assert not list(file.parent.iterdir())
    refreshing.fresh_access_token(connected.id)
    assert connected.family().state == "live"
    assert connected.refreshes() == 2  # the stored access token counts as expired


def test_a_caller_that_takes_over_looks_for_it_first(
    connected: Connected, clock: HeldClock, staged: StagedResponses
) -> None:
    """A2: else it would send the spent token, and the connection would be lost."""
    die_with_a_response(connected, clock, staged)
    clock.move(120)

    refresh(connected.parts(), staged).fresh_access_token(connected.id)

    assert connected.holds_the_living_token()
    assert connected.family().state == "live"


def test_a_save_that_succeeds_later_leaves_no_file(
    connected: Connected, clock: HeldClock, staged: StagedResponses
) -> None:
    """The file is a copy for as long as the row has none."""
    seen: list[int] = []

    class Counting(ComesBack):
        def save(self, lease: Lease, sealed: SealedGrant, **how: Any) -> bool:
            seen.append(staged.count())
            return super().save(lease, sealed, **how)

    clock.move(61)
    refresh(connected.parts(Counting), staged).fresh_access_token(connected.id)

    assert seen == [0, 1, 1]
    assert staged.count() == 0
    assert connected.holds_the_living_token()


def test_after_a_disconnect_it_is_revoked(
    connected: Connected, clock: HeldClock, staged: StagedResponses
) -> None:
    """R-14: a token that no row takes must not stay valid."""
    die_with_a_response(connected, clock, staged)
    with connected.app.app_context():
        db.session.execute(delete(Connection))
        entry = values(connected.user_id, connected.id, EventKind.DISCONNECTED)
        db.session.add(ConnectionEvent(**entry, at=clock.moment))
        db.session.commit()
    assert connected.family().state == "live"

    assert refresh(connected.parts(), staged).store_staged() == 0

    assert staged.count() == 0
    assert connected.family().state == "dead"


def test_after_a_reconnect_it_changes_nothing(
    connected: Connected, clock: HeldClock, staged: StagedResponses
) -> None:
    """R-14: the new grant stays, and nothing is revoked."""
    die_with_a_response(connected, clock, staged)
    connected.connect()
    connected.family_id = max(family.id for family in connected.sandbox.ledger().families)

    assert refresh(connected.parts(), staged).store_staged() == 0

    assert staged.count() == 0
    assert connected.holds_the_living_token()
    assert connected.family().state == "live"


def test_without_its_key_it_waits(
    connected: Connected, clock: HeldClock, staged: StagedResponses
) -> None:
    """S-42: nothing in the file opens without the keys, and it is kept for the right ones."""
    die_with_a_response(connected, clock, staged)
    wrong = Vault([replace(connected.settings.token_keys[0], key=b"0123456789abcdef" * 2)])

    assert refresh(replace(connected.parts(), vault=wrong), staged).store_staged() == 0

    assert staged.count() == 1
    assert refresh(connected.parts(), staged).store_staged() == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"connection_id": 5}'])
def test_a_damaged_file_hinders_no_other(
    connected: Connected, clock: HeldClock, staged: StagedResponses, content: bytes
) -> None:
    """It is left for a person to look at, and counted."""
    file = die_with_a_response(connected, clock, staged)
    damaged = file.with_name(file.name.replace(str(connected.id), "0" * 8))
    damaged.write_bytes(content)

    assert refresh(connected.parts(), staged).store_staged() == 1

    assert staged.count() == 1


@pytest.mark.parametrize("name", ["user_id", "generation", "fence"])
@pytest.mark.parametrize("value", ["1" * 30, "1e400", "-1", "true", "null", '"1"'])
def test_a_number_that_fits_no_row_stops_no_start(
    connected: Connected, clock: HeldClock, staged: StagedResponses, name: str, value: str
) -> None:
    """A damaged file is skipped: an error of the database's driver would end the start."""
    file = die_with_a_response(connected, clock, staged)
    whole = file.read_text()
    changed = re.sub(rf'"{name}": [0-9]+', f'"{name}": {value}', whole)
    assert changed != whole
    file.write_text(changed)

    assert refresh(connected.parts(), staged).store_staged() == 0

    assert staged.count() == 1


def test_the_files_of_another_database_are_left_alone(
    connected: Connected, clock: HeldClock, staged: StagedResponses, tmp_path: Path
) -> None:
    """Two apps that share a folder do not throw away each other's tokens."""
    die_with_a_response(connected, clock, staged)

    other = StagedResponses(tmp_path, "sqlite:///another.db")

    assert other.count() == 0
    assert refresh(connected.parts(), other).store_staged() == 0
    assert staged.count() == 1


def test_of_a_connection_that_was_never_here_it_is_left(
    connected: Connected, clock: HeldClock, staged: StagedResponses
) -> None:
    """Another database of the same name, or one whose rows were moved elsewhere: no row, no end."""
    die_with_a_response(connected, clock, staged)
    with connected.app.app_context():
        db.session.execute(delete(Connection))
        db.session.commit()

    assert refresh(connected.parts(), staged).store_staged() == 0

    assert staged.count() == 1
    assert connected.family().state == "live"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://app@one/app",
        "postgresql+psycopg://app:new@two:5433/app",
        "postgresql+psycopg://app@/app?host=one,two&target_session_attrs=read-write",
    ],
)
def test_a_failover_that_changes_the_address_leaves_them_to_be_found(
    tmp_path: Path, url: str
) -> None:
    """Host, port, user and password of DATABASE_URL may change while a response waits."""
    (tmp_path / "unsaved").mkdir()
    file = StagedResponses(tmp_path, "postgresql+psycopg://app:old@one:5432/app").path("5", 1)
    file.write_text("{}")

    assert StagedResponses(tmp_path, url).count() == 1
    assert StagedResponses(tmp_path, url.replace("/app", "/b")).count() == 0


def test_a_full_disk_leaves_no_part_of_a_file(
    connected: Connected, clock: HeldClock, staged: StagedResponses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, a quota, an I/O error: what is there is whole, and saving goes on."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    clock.move(61)
    refresh(connected.parts(ComesBack), staged).fresh_access_token(connected.id)

    assert not list((staged.path("", 0).parent).iterdir())
    assert connected.holds_the_living_token()


def test_a_folder_that_cannot_be_written_stops_no_save(
    connected: Connected, clock: HeldClock, tmp_path: Path
) -> None:
    """A full disk, a read-only file system, a file in the place of the folder."""
    (tmp_path / "unsaved").write_text("in the way")
    staged = StagedResponses(tmp_path, connected.settings.database_url)

    clock.move(61)
    refresh(connected.parts(ComesBack), staged).fresh_access_token(connected.id)

    assert not staged.is_writable()
    assert connected.holds_the_living_token()
