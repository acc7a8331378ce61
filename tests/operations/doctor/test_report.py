"""flask doctor: what is well, and that it neither changes nor shows anything."""

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.database.db import Model, db
from app.operations import doctor
from app.operations.doctor import in_time
from app.operations.doctor.findings import Finding, Level, ok
from tests.conftest import MakeApp
from tests.support.clones import Clone
from tests.support.commands import ended, flask, run
from tests.support.connected import Connected
from tests.support.examined import Report
from tests.support.sandbox import Sandbox
from tests.support.servers import Served

pytestmark = pytest.mark.own_stage


def contents(app: Flask) -> Mapping[str, list[Any]]:
    """Every row of every table."""
    with app.app_context(), db.engine.connect() as connection:
        return {
            table.name: sorted(map(str, connection.execute(table.select())))
            for table in Model.metadata.sorted_tables
        }


def files(app: Flask) -> list[bytes]:
    """What stands in the database's files, where it has any that can be seen: its log too."""
    with app.app_context():
        name = db.engine.url.database or ""
    return [path.read_bytes() for path in (Path(name), Path(f"{name}-wal")) if path.is_file()]


def test_all_is_well_where_all_is_well(
    app: Flask, served: Served, sandbox: Sandbox, environ: dict[str, str]
) -> None:
    """The app under gunicorn, with a connection in its database, has no fault."""
    Connected(app, sandbox, environ)

    report = Report(app)

    assert report.status == 0
    # The PostgreSQL of the tests need not survive a power cut, and doctor sees that.
    durable = db_name(app) == "sqlite"
    assert report.amiss() == ([] if durable else [("isolation", "warning")]), report.output


def test_it_changes_nothing(healthy: MakeApp, sandbox: Sandbox, environ: dict[str, str]) -> None:
    """Neither a row here nor a token at Katana is another afterwards, nor a byte of a file."""
    app = healthy()
    connected = Connected(app, sandbox, environ)
    before = contents(app), connected.family(), files(app)

    Report(app)

    assert (contents(app), connected.family(), files(app)) == before


@pytest.mark.one_database("postgresql")
def test_it_shows_no_secret(healthy: MakeApp, environ: dict[str, str]) -> None:
    """Whatever it finds, no secret comes out, the database's password included."""
    url = "postgresql://someone:pass-word-of-mine@127.0.0.1:9/nowhere"
    told = [run(healthy(**changed), "doctor") for changed in ({}, {"DATABASE_URL": url})]

    _, key = environ["TOKEN_ENCRYPTION_KEYS"].split(":")
    for secret in (environ["SECRET_KEY"], environ["KATANA_CLIENT_SECRET"], key, "pass-word"):
        assert all(secret not in one.output for one in told)


def test_wrong_settings_are_findings_too(clone: Clone) -> None:
    """What keeps the app from starting is told by doctor in its own form."""
    told = ended(flask({"SECRET_KEY": "secret key"}, "doctor", "--json", folder=clone.path))

    report = json.loads(told.output)
    assert (told.status, report["level"]) == (1, "fault")
    assert "KATANA_CLIENT_ID is not set." in [f["says"] for f in report["findings"]]


@pytest.mark.one_database
def test_every_finding_that_is_not_ok_says_how_to_mend_it(healthy: MakeApp) -> None:
    """A line below says what to do."""
    lines = run(healthy(PROXY_HOPS="1"), "doctor").output.splitlines()

    (at,) = [n for n, line in enumerate(lines) if line.startswith("warning")]
    assert lines[at + 1].startswith(" " * 20)
    assert "Set PROXY_HOPS to 0" in lines[at + 1]


def test_what_never_ends_is_a_finding() -> None:
    """Whatever hangs, doctor comes to an end, and says so."""
    hangs = threading.Event()

    def findings() -> Iterator[Finding]:
        yield ok("first", "It is well.")
        hangs.wait()

    first, last = in_time(findings(), seconds=0.2)
    hangs.set()

    assert (first.check, last.check, last.level) == ("first", "time", Level.FAULT)


def test_what_breaks_a_check_is_a_finding() -> None:
    """An error that nobody foresaw ends the report at once, and says so."""

    def findings() -> Iterator[Finding]:
        yield ok("first", "It is well.")
        raise UnicodeError("secret")

    first, last = in_time(findings(), seconds=30)

    assert (first.check, last.check, last.level) == ("first", "doctor", Level.FAULT)
    assert "(UnicodeError)" in last.says
    assert "secret" not in last.says


@pytest.mark.one_database
def test_a_check_that_breaks_stops_no_other(
    healthy: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever error it meets, the checks after it are made."""

    def broken(_: object) -> Iterator[Finding]:
        raise OSError("secret")
        yield

    monkeypatch.setattr(doctor, "ABOUT_ADDRESS", (broken,))
    report = Report(healthy())

    assert report.amiss() == [("broken", "fault")]
    assert "(OSError)" in report.says("broken")
    assert report.says("clock")


def db_name(app: Flask) -> str:
    """Which database the app has."""
    with app.app_context():
        return db.engine.dialect.name
