"""The flask commands, as an operator uses them."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from flask.cli import with_appcontext
from sqlalchemy import literal, text, update

from app import connections
from app.connections.fleet.overview import BATCH
from app.connections.models import Connection, EventKind, Reason, Status
from app.database.clock import SystemClock
from app.database.db import db
from app.katana.oauth import KatanaLogin, new_code_verifier
from app.operations.commands import user_lookup
from app.operations.commands.require_settings import DatabaseCommand
from app.settings.config import load
from tests.conftest import MakeApp
from tests.support.actors import Maker
from tests.support.clones import Clone
from tests.support.commands import END_SECONDS, ended, flask, on_a_terminal, run
from tests.support.connected import Connected, MakeConnected
from tests.support.crowds import crowd
from tests.support.sandbox import Sandbox


@pytest.mark.short_form(1)
@pytest.mark.parametrize(
    "arguments",
    [("connections", "list"), ("keys", "rotate"), ("sandbox",), ("db", "upgrade"), ("run",)],
    ids=" ".join,
)
def test_wrong_settings_are_told_in_sentences(clone: Clone, arguments: tuple[str, ...]) -> None:
    """Every command but those that need no settings says all that is wrong, and ends with 1."""
    told = ended(flask({"SECRET_KEY": "short-and-private"}, *arguments, folder=clone.path))

    assert told.status == 1
    assert "KATANA_REDIRECT_URI is not set." in told.output
    assert "SECRET_KEY is too easy to guess" in told.output
    assert "Traceback" not in told.output
    assert "short-and-private" not in told.output


@pytest.mark.slow
def test_a_key_can_be_made_before_there_are_settings(clone: Clone) -> None:
    """`keys new` needs nothing, since the settings need a key."""
    first, second = (ended(flask({}, "keys", "new", folder=clone.path)) for _ in range(2))

    assert first.status == second.status == 0
    assert first.output != second.output


@pytest.mark.one_database
def test_a_new_key_is_one_that_the_settings_take(new_app: MakeApp, environ: dict[str, str]) -> None:
    """What `keys new` prints goes into TOKEN_ENCRYPTION_KEYS as it is."""
    key = ended(flask({}, "keys", "new")).output.splitlines()[0]

    new_app(TOKEN_ENCRYPTION_KEYS=f"{key},{environ['TOKEN_ENCRYPTION_KEYS']}")


@pytest.mark.slow
def test_no_server_starts_on_wrong_settings(clone: Clone) -> None:
    """What `flask` gets in place of the app is for `flask` alone."""
    served = subprocess.run(
        (sys.executable, "-c", "import wsgi"),
        cwd=clone.path,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=END_SECONDS,
    )

    assert served.returncode == 1
    assert "ConfigurationError" in served.stderr


@pytest.mark.slow
@pytest.mark.one_database
def test_the_sandbox_is_started_with_the_apps_own_client(environ: dict[str, str]) -> None:
    """`flask sandbox` knows the client id and the redirect URI, and ends when it is told to."""
    process = flask(environ, "sandbox", "--port", "0")
    assert process.stdout
    try:
        url = next(
            re.findall(r"http://[\w.:]+", line)[0] for line in process.stdout if "http:" in line
        )
        katana = replace(load(environ).katana, authorize_url=f"{url}/authorize")
        asked = KatanaLogin(katana).authorization_url("state", new_code_verifier())
        callback = Sandbox(url, katana.client_id, katana.client_secret).approve(asked)
    finally:
        process.terminate()
        process.communicate(timeout=END_SECONDS)

    assert callback.url.startswith(f"{katana.redirect_uri}?code=")


def test_list_shows_every_connection_and_counts_them(
    app: Flask, new_connected: MakeConnected
) -> None:
    """One line each, by e-mail address, and how many there are of each status."""
    new_connected("bea")
    ended_one = new_connected("ada")
    ended_one.change(status=Status.RECONNECT_NEEDED, reason=Reason.GRANT_ENDED)

    told = run(app, "connections", "list")

    assert told.status == 0
    _, ada, bea, _, counts = told.output.splitlines()
    assert re.match(r"ada@workshop.example .* reconnect_needed +grant_ended .* -$", ada)
    assert re.match(r"bea@workshop.example .* active +- .*Z$", bea)
    assert counts == "2 in all: 1 active, 1 reconnect_needed"


def test_list_shows_one_status_alone(app: Flask, new_connected: MakeConnected) -> None:
    """`--status` leaves out the others."""
    new_connected("bea")
    new_connected("ada").change(status=Status.RECONNECT_NEEDED, reason=Reason.ANSWER_LOST)

    told = run(app, "connections", "list", "--status", "reconnect_needed")

    assert "ada@workshop.example" in told.output
    assert "bea@workshop.example" not in told.output
    assert told.output.splitlines()[-1] == "1 reconnect_needed"


@pytest.mark.both_databases
def test_list_shows_each_once_however_many_there_are(app: Flask, connected: Connected) -> None:
    """Across batches nobody is lost and nobody is shown twice."""
    crowd(app, connected.vault, BATCH * 2)

    lines = run(app, "connections", "list").output.splitlines()

    people = [line.split()[0] for line in lines if "@" in line]
    assert len(people) == len(set(people)) == BATCH * 2 + 1
    assert lines[-1].startswith(f"{BATCH * 2 + 1} in all")


@pytest.mark.one_database
def test_names_of_any_script_stay_in_their_column(app: Flask, new_connected: MakeConnected) -> None:
    """A long name is cut; one of wide characters or accents takes the places that it takes."""
    names = {"ada": "木工所" * 10, "bea": "Mo\u0308bel Café", "cai": "A very long name " * 5}
    for who, name in names.items():
        new_connected(who).change(factory_name=name)

    _, *lines = run(app, "connections", "list").output.splitlines()[:4]

    for line in lines:
        before, _, _ = line.partition("active")
        wide = sum(c in "木工所" for c in before)
        accents = before.count("\u0308")
        assert len(before) + wide - accents == 36 + 2 + 28 + 2, line
    assert "…" in lines[0]


@pytest.mark.slow
@pytest.mark.one_database
def test_list_fits_a_narrow_terminal(environ: dict[str, str], connected: Connected) -> None:
    """On a terminal of 80 places each connection takes one line, with its address whole."""
    shown = on_a_terminal(environ | {"COLUMNS": "80"}, "connections", "list")

    lines = [line for line in shown.splitlines() if "@" in line or "E-MAIL" in line]
    assert len(lines) == 2
    assert all(len(line) <= 80 for line in lines)
    assert "ada@workshop.example" in lines[1]


@pytest.mark.slow
@pytest.mark.one_database
def test_who_stops_reading_gets_no_traceback(environ: dict[str, str], connected: Connected) -> None:
    """A list that is piped into `head` ends where `head` does."""
    crowd(connected.app, connected.vault, BATCH * 2)
    process = flask(environ, "connections", "list")
    assert process.stdout
    first = process.stdout.readline()
    process.stdout.close()

    assert process.wait(END_SECONDS) == 1
    assert first.startswith("E-MAIL")


@pytest.mark.one_database
def test_a_name_from_katana_does_not_steer_the_terminal(app: Flask, connected: Connected) -> None:
    """Control characters in a factory's name are not passed on."""
    connected.change(factory_name="Looms \x1b[2J\x07")

    for told in (
        run(app, "connections", "list"),
        run(app, "connections", "show", "ada@workshop.example"),
    ):
        assert "Looms ?[2J?" in told.output


def test_show_finds_somebody_by_any_of_their_names(app: Flask, connected: Connected) -> None:
    """E-mail address, number of the user and id of the connection lead to the same sheet."""
    names = (" Ada@Workshop.example", str(connected.user_id), str(connected.id))

    sheets = {run(app, "connections", "show", name).output for name in names}

    (sheet,) = sheets
    assert str(connected.id) in sheet
    assert sheet.splitlines()[-1].endswith("connected")


def test_no_command_shows_a_token(app: Flask, connected: Connected) -> None:
    """Neither tokens nor what they are sealed as come out, whatever is asked for."""
    told = "".join(
        run(app, "connections", *arguments).output
        for arguments in (("list",), ("show", "1"), ("refresh", "1"), ("keep-alive",))
    )

    row = connected.row()
    assert connected.stored_refresh_token() not in told
    for sealed in (row.sealed_access_token, row.sealed_refresh_token):
        assert sealed.hex()[:40] not in told
        assert str(sealed)[2:40] not in told


def test_show_tells_the_history_of_who_is_disconnected(app: Flask, connected: Connected) -> None:
    """The history outlives the connection."""
    connected.disconnect()

    told = run(app, "connections", "show", str(connected.user_id))

    assert told.status == 0
    assert "not connected" in told.output
    assert "disconnected (revoked)" in told.output


def test_refresh_renews_a_token_that_is_still_good(app: Flask, connected: Connected) -> None:
    """The operator's wish is reason enough."""
    told = run(app, "connections", "refresh", "ada@workshop.example")

    assert (told.status, told.stdout) == (0, "Renewed.\n")
    assert connected.refreshes() == 1
    assert connected.holds_the_living_token()


def test_refresh_tells_that_katana_has_ended_the_grant(app: Flask, connected: Connected) -> None:
    """It asks twice, as everybody does, and then says what the user must do."""
    connected.sandbox.kill(connected.family_id)

    told = run(app, "connections", "refresh", "ada@workshop.example")

    assert told.status == 1
    assert "must connect again" in told.output
    assert connected.row().reason is Reason.GRANT_ENDED


def test_refresh_tells_of_a_disconnect_in_between(
    app: Flask, connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is found and then disconnects is told of in a sentence, and nothing is sent."""
    find = user_lookup.find

    def find_too_early(who: str) -> user_lookup.Person:
        person = find(who)
        connected.disconnect()
        return person

    monkeypatch.setattr(user_lookup, "find", find_too_early)
    told = run(app, "connections", "refresh", "ada@workshop.example")

    assert told.status == 1
    assert told.output.splitlines()[-1] == "Error: This user has disconnected meanwhile."
    assert connected.refreshes() == 0


def test_refresh_does_not_break_a_pause(app: Flask, connected: Connected) -> None:
    """What Katana has asked everybody to wait for, operators wait for too."""
    connected.change(next_attempt_at=600)

    told = run(app, "connections", "refresh", str(connected.id))

    assert told.status == 1
    assert "pauses" in told.output
    assert connected.refreshes() == 0


@pytest.mark.parametrize(("seconds", "status"), [(1, 0), (30, 1)])
def test_refresh_believes_in_a_holder_for_as_long_as_one_may_work(
    app: Flask, connected: Connected, seconds: int, status: int
) -> None:
    """Somebody else is renewing it; or began to, and must have died."""
    connected.change(lease_owner=literal("another"), lease_until=60 - seconds, sent_at=-seconds)

    told = run(app, "connections", "refresh", str(connected.id))

    assert told.status == status
    assert ("Somebody else" in told.output) == (status == 0)
    assert connected.refreshes() == 0


def test_disconnect_asks_first(app: Flask, connected: Connected) -> None:
    """Without a yes nothing happens."""
    told = run(app, "connections", "disconnect", "ada@workshop.example")

    assert told.status == 1
    assert connected.row().status is Status.ACTIVE


def test_disconnect_revokes_and_forgets(app: Flask, connected: Connected) -> None:
    """As when the user presses the button."""
    told = run(app, "connections", "disconnect", "ada@workshop.example", "--yes")

    assert told.status == 0
    assert connected.history()[-1] == (EventKind.DISCONNECTED, "revoked")
    assert connected.family().state == "dead"


@pytest.mark.short_form(3)
@pytest.mark.parametrize("command", ["show", "refresh", "disconnect"])
@pytest.mark.parametrize(
    "who", ["nobody@workshop.example", "4711", "9f1f2b9e-0c1d-4a7e-8a39-2d1c0b6a7f55"]
)
def test_somebody_unknown_is_one_sentence(app: Flask, command: str, who: str) -> None:
    """Whom nobody knows is an error of the operator's: one sentence, status 1."""
    told = run(app, "connections", command, who)

    assert told.status == 1
    assert told.output == "Error: There is no such user or connection here.\n"


@pytest.mark.one_database
@pytest.mark.parametrize(
    "arguments",
    [
        ("show",),
        ("show", "somebody"),
        ("show", "99999999999999999999"),
        ("list", "--status", "broken"),
        ("keep-alive", "--in-flight", "0"),
        ("keep-alive", "--idle-days", "-1"),
        ("keep-alive", "--idle-days", "36501"),
        ("keep-alive", "--idle-days", "nan"),
        ("keep-alive", "--idle-days", "inf"),
        ("keep-alive", "--watch", "--every", "0"),
        ("keep-alive", "--watch", "--every", "86401"),
        ("show", "a\udcff@b.co"),  # as Python passes on a byte that is no UTF-8
        ("unheard-of",),
    ],
    ids=lambda arguments: ascii(" ".join(arguments)),
)
def test_wrong_usage_ends_with_2(app: Flask, arguments: tuple[str, ...]) -> None:
    """What cannot be understood is told with the usage, and nothing is done."""
    told = run(app, "connections", *arguments)

    assert told.status == 2
    assert "Usage:" in told.output


@pytest.mark.one_database
def test_ctrl_c_in_the_middle_of_a_statement_is_no_failure_of_the_database(app: Flask) -> None:
    """What a driver that was interrupted says on top of it concerns nobody."""

    @app.cli.command("half-done", cls=DatabaseCommand)
    @with_appcontext
    def half_done() -> None:
        try:
            raise KeyboardInterrupt
        finally:
            db.session.execute(text("half a statement"))

    told = run(app, "half-done")

    assert told.status == 1
    assert told.output.strip() == "Aborted!"


@pytest.mark.one_database
@pytest.mark.parametrize(
    "arguments",
    [("connections", "list"), ("connections", "keep-alive"), ("keys", "rotate")],
    ids=" ".join,
)
def test_a_database_without_tables_is_one_sentence(
    new_app: MakeApp, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """What the database cannot do is told without a traceback, with status 1."""
    empty = f"sqlite:///{tmp_path / 'empty.db'}"

    told = run(new_app(DATABASE_URL=empty), *arguments)

    assert told.status == 1
    assert "The database failed (OperationalError)" in told.output


@pytest.mark.sandbox
def test_a_moment_of_a_wrong_clock_is_not_listed(app: Flask, maker: Maker) -> None:
    """13: the database's clock ran ahead and was set right; the list does as a refresh does."""
    maker.sign_up()
    maker.connect()
    with app.app_context():
        ahead = SystemClock().database_time(400 * 24 * 3600)
        db.session.execute(update(Connection).values(next_attempt_at=ahead, renew_at=ahead))
        db.session.commit()
        listed = next(iter(connections.current().overview.lines()))

    assert listed.next_renewal == listed.at
    assert f"{listed.at:%Y-%m}" in run(app, "connections", "list").output
