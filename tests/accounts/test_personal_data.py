"""What users may ask for: all that is kept about them, and that it goes with their account."""

import json
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, text
from werkzeug.exceptions import Unauthorized

from app.accounts import device_cookies, personal_data, sessions
from app.accounts.models import RateLimit, User, UserSession
from app.connections.lifecycle import Lifecycle, Revocation
from app.connections.models import Connection
from app.connections.staged_responses import StagedResponses
from app.database.db import Model, db
from app.katana.oauth import KatanaLogin
from tests.support.actors import Maker
from tests.support.clocks import HeldClock
from tests.support.commands import run
from tests.support.connected import Connected, MakeConnected
from tests.support.leaving import counts, leave
from tests.support.pages import Page
from tests.support.rig import Rig
from tests.support.rows import attempts
from tests.support.staging import die_with_a_response

pytestmark = pytest.mark.accounts

WICK = "tallow-and-wick"
MANY = 10_000
WRONG = "bob builds chairs from oak"
#: What is never in the file: sealed values, and hashes.
LEFT_OUT = {
    "users.password_hash",
    "user_sessions.token_hash",
    "connect_attempts.state_hash",
    "connect_attempts.sealed_verifier",
    "connections.connected_by",
    "connections.sealed_access_token",
    "connections.sealed_refresh_token",
}
#: The same of sync, which a fork may do without.
OF_SYNC = {"sync_accounts.connected_by", "webhooks.key_hash", "webhooks.sealed_token"}


@pytest.fixture
def ada(rig: Rig) -> Maker:
    """A maker whose Katana is connected."""
    ada = rig.maker("ada")
    ada.sign_up()
    ada.connect()
    return ada


def limits(app: Flask) -> str:
    """The keys of all counters."""
    with app.app_context():
        return " ".join(db.session.scalars(select(RateLimit.key)))


def id_of(app: Flask, email: str) -> int | None:
    """The number of a user."""
    with app.app_context():
        return db.session.scalar(select(User.id).where(User.email == email))


def delete_account(maker: Maker, password: str | None = None) -> Page:
    """The answer to the form, filled in."""
    form = maker.get("/account/delete")
    return maker.submit(form, "/account/delete", password=password or maker.password)


@pytest.mark.both_databases
def test_the_file_has_every_row_of_the_user_and_of_nobody_else(rig: Rig, ada: Maker) -> None:
    """Of each table as many rows as there are while nobody else is here; then no more of them."""
    ada.begin()
    alone = counts(rig.app)
    bob = rig.maker("bob")
    bob.sign_up()
    bob.connect(factory=WICK)

    page = ada.submit(ada.get("/account"), "/account/download")

    assert page.status == 200
    assert page.headers["Content-Type"] == "application/json; charset=utf-8"
    assert page.headers["Content-Disposition"] == "attachment; filename=connect-to-katana.json"
    assert page.headers["Cache-Control"] == "no-store"
    told = json.loads(page.text)
    rows = {name: len(told[name]) for name in told if isinstance(told[name], list) and told[name]}
    assert rows == alone
    assert {"users", "user_sessions", "connect_attempts", "connections"} <= set(rows)
    assert told["users"][0]["email"] == ada.email
    assert bob.email not in page.text
    assert "Tallow" not in page.text


@pytest.mark.one_database
def test_no_key_to_anything_is_in_the_file(rig: Rig, ada: Maker) -> None:
    """Neither sealed values nor hashes, by column; and no secret that passed by, by value."""
    page = ada.submit(ada.get("/account"), "/account/download")

    columns = {column for table in Model.metadata.sorted_tables for column in table.columns}
    hidden = {column for column in columns if not personal_data.is_shown(column)}
    assert {str(column) for column in hidden} == {*LEFT_OUT, *OF_SYNC} & {str(c) for c in columns}
    assert not {secret for secret in rig.secrets() if secret in page.text}
    for row in (row for rows in json.loads(page.text).values() for row in rows):
        assert not isinstance(row, dict) or not {column.name for column in hidden} & set(row)


@pytest.mark.one_database
def test_only_ones_own_button_downloads(rig: Rig, ada: Maker) -> None:
    """No link, no forged form, no stranger; and not without end."""
    form = ada.get("/account").form("/account/download").fields

    assert ada.browser.send("GET", "/account/download").status == 405
    assert ada.browser.send("POST", "/account/download").status == 400
    assert rig.jar().send("POST", "/account/download", form).status == 401
    assert rig.jar().send("GET", "/account").location == "/sign-in"
    answers = [ada.browser.send("POST", "/account/download", form).status for _ in range(21)]
    assert answers == [200] * 20 + [429]


@pytest.mark.one_database
def test_the_rows_of_an_account_are_never_in_memory_together(connected: Connected) -> None:
    """The file is made of batches: what is held at once does not grow with the account."""
    many = text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :many) "
        "INSERT INTO connection_events (user_id, connection_id, kind, detail, at) "
        "SELECT :user, :connection, 'refresh_failed', 'no ' || i, '2026-11-27 00:00:00' FROM n"
    )
    with connected.app.app_context():
        owner = {"user": connected.user_id, "connection": connected.id.hex}
        db.session.execute(many, {"many": MANY, **owner})
        db.session.commit()
        engine = db.engine
    tracemalloc.start()

    rows = sum('"detail": "no ' in piece for piece in personal_data.export(engine, 1))

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == MANY
    assert peak < 3e6  # bytes; all of them together take five times as much


@pytest.mark.both_databases
def test_with_the_account_goes_every_row(rig: Rig, ada: Maker) -> None:
    """History, limits, sessions on all devices; Katana hears of it; nobody else's goes."""
    bob = rig.maker("bob")
    bob.sign_up()
    bobs = counts(rig.app)["users"] - 1
    elsewhere = rig.maker("ada")
    elsewhere.sign_in()
    elsewhere.begin()
    ada_id = id_of(rig.app, ada.email)
    assert delete_account(ada, WRONG).status == 422
    key = personal_data.account_key(ada.email)
    assert f"user-{ada_id}/" in limits(rig.app)

    page = delete_account(ada)

    assert page.location == "/"
    assert page.headers["Clear-Site-Data"] == '"storage"'
    shown = ada.get("/").text
    assert "Your account is deleted" in shown
    assert "Katana confirmed that access is revoked." in shown
    assert counts(rig.app) == {"users": bobs, "user_sessions": bobs}
    assert attempts(rig.app) == 0
    for maker in (ada, elsewhere):
        assert maker.browser.send("GET", "/dashboard").location == "/sign-in"
    assert [family.state for family in rig.sandbox.ledger().families] == ["dead"]
    assert key not in limits(rig.app)
    assert f"user-{ada_id}/" not in limits(rig.app)
    known = f"katana_known={ada.browser.cookies['katana_known']}"  # type: ignore[attr-defined]
    with rig.app.test_request_context(headers={"Cookie": known}):
        assert device_cookies.name_for(key) is None
    assert "not right" in ada.sign_in().text
    assert bob.dashboard().form("/katana/connect")
    assert ada.sign_up().form("/katana/connect")
    assert "deleted" in rig.log()
    assert ada.email not in rig.log()


@pytest.mark.one_database
def test_a_wrong_password_deletes_nothing(rig: Rig, ada: Maker) -> None:
    """It is asked for again; ten wrong ones are a pause, also for the right one."""
    before = counts(rig.app)
    form = ada.get("/account/delete").form("/account/delete").fields

    assert ada.browser.send("GET", "/account/delete").status == 200
    assert ada.browser.send("POST", "/account/delete", {"password": ada.password}).status == 400
    assert (
        "Enter your password."
        in ada.browser.send("POST", "/account/delete", form | {"password": ""}).text
    )
    wrong = form | {"password": WRONG}
    pages = [ada.browser.send("POST", "/account/delete", wrong) for _ in range(9)]
    assert all("The password is not right." in page.text for page in pages)
    assert {page.status for page in pages} == {422}
    assert delete_account(ada).status == 429

    assert counts(rig.app) == before
    assert [family.state for family in rig.sandbox.ledger().families] == ["live"]


@pytest.mark.one_database
def test_pressing_twice_deletes_once(rig: Rig, ada: Maker) -> None:
    """Two at once: one account goes, and neither press fails."""
    form = ada.get("/account/delete").form("/account/delete").fields
    form |= {"password": ada.password}
    rig.sandbox.fault("revoke", "slow", seconds=20)

    with ThreadPoolExecutor(2) as tabs:
        slow = tabs.submit(ada.browser.send, "POST", "/account/delete", form)
        rig.sandbox.wait_until_asked("revoke")
        second = tabs.submit(rig.copy_of(ada.browser).send, "POST", "/account/delete", form)  # type: ignore[arg-type]
        rig.sandbox.let_go()

        assert {slow.result().status, second.result().status} <= {303, 401}
    assert counts(rig.app) == {}
    assert "Traceback" not in rig.log()


def test_a_refresh_under_way_revives_nothing(rig: Rig, ada: Maker) -> None:
    """The page that waits for Katana ends well; what Katana gives is kept nowhere, and revoked."""
    rig.sandbox.expire()
    with rig.app.app_context():
        ahead = {"expires_at": sessions.now(-1), "renew_at": sessions.now(-1)}
        db.session.execute(db.update(Connection).values(ahead))
        db.session.commit()
    elsewhere = rig.maker("ada")
    elsewhere.sign_in()
    rig.sandbox.fault("refresh", "slow", seconds=20)

    with ThreadPoolExecutor(1) as tab:
        slow = tab.submit(ada.browser.send, "GET", "/dashboard")
        rig.sandbox.wait_until_asked("refresh")
        assert delete_account(elsewhere).status == 303
        rig.sandbox.let_go()

        assert slow.result().status == 200
    assert counts(rig.app) == {}
    assert [family.state for family in rig.sandbox.ledger().families] == ["dead"]
    assert "Internal Server Error" not in rig.log()


def test_a_grant_that_comes_in_between_is_revoked_too(connected: Connected) -> None:
    """A callback connects after the disconnect: with the user it would go unrevoked."""
    back: list[Callable[[], Any]] = [lambda: connected.connect(state="late")]

    class Interrupted(Lifecycle):
        def disconnect(self, user_id: int) -> Revocation | None:
            ended = super().disconnect(user_id)
            if back:
                back.pop()()
            return ended

    login = KatanaLogin(connected.settings.katana)
    with connected.app.app_context():
        interrupted = Interrupted(login, connected.vault, connected.clock)
        assert interrupted.leave(connected.user_id, personal_data.erase) is Revocation.REVOKED

    assert counts(connected.app) == {}
    assert [family.state for family in connected.sandbox.ledger().families] == ["dead", "dead"]


@pytest.mark.held_time
def test_a_response_that_waits_in_a_file_goes_too(
    connected: Connected, clock: HeldClock, tmp_path: Path
) -> None:
    """Nothing would tell later that it is of no connection any more."""
    staged = StagedResponses(tmp_path, connected.settings.database_url)
    file = die_with_a_response(connected, clock, staged)
    login = KatanaLogin(connected.settings.katana)

    with connected.app.app_context():
        lifecycle = Lifecycle(login, connected.vault, clock, staged=staged)
        lifecycle.leave(connected.user_id, personal_data.erase)

    assert not file.exists()


def test_no_number_of_a_user_is_given_twice(new_connected: MakeConnected) -> None:
    """A request that began for the deleted user ends as nobody's, and not as the next user's."""
    gone = new_connected("ada")
    leave(gone)

    assert new_connected("ben").user_id > gone.user_id


@pytest.mark.one_database
def test_who_signs_in_while_the_account_goes_is_a_stranger(connected: Connected) -> None:
    """The password was right a moment ago: that is no failure of this app."""
    leave(connected)

    with connected.app.test_request_context(), pytest.raises(Unauthorized):
        sessions.begin(connected.user_id)

    with connected.app.app_context():
        assert db.session.scalar(select(func.count()).select_from(UserSession)) == 0


@pytest.mark.one_database
def test_an_operator_exports_and_deletes(connected: Connected) -> None:
    """The same file; deleting asks first."""
    app, email = connected.app, "ada@workshop.example"

    told = run(app, "users", "export", email)
    assert told.status == 0
    assert json.loads(told.stdout)["users"][0]["email"] == email

    asked = app.test_cli_runner().invoke(args=["users", "delete", email], input="n\n")
    assert asked.exit_code == 1
    assert f"Delete {email} and everything that is kept?" in asked.output
    assert connected.row()

    gone = run(app, "users", "delete", email, "--yes")
    assert gone.status == 0
    assert "Deleted, and revoked at Katana.\n" in gone.output
    assert counts(app) == {}
    assert connected.family().state == "dead"


@pytest.mark.one_database
@pytest.mark.parametrize("command", ["export", "delete"])
def test_whom_nobody_knows_is_one_sentence(app: Flask, command: str) -> None:
    """With status 1."""
    told = run(app, "users", command, "nobody@workshop.example")

    assert told.status == 1
    assert told.output == "Error: There is no such user or connection here.\n"
