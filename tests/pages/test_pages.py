"""What holds for every page: closed by default, guarded, and failing politely."""

import logging
import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from app.database.db import db
from app.errors import ConnectError, TryAgainLater
from app.pages import error_messages
from app.pages.error_pages import explain
from app.pages.security import FROM_ELSEWHERE, PUBLIC
from app.settings import flask_config
from tests.conftest import MakeApp
from tests.support.actors import LIVE, ClientBrowser, Maker
from tests.support.locks import locked
from tests.support.pages import Page
from tests.support.routes import path, rules
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.one_database


@pytest.fixture
def maker(client: FlaskClient, sandbox: Sandbox) -> Maker:
    """A maker who is signed in, and whose browser is `client`."""
    maker = Maker(ClientBrowser(client), sandbox)
    maker.sign_up()
    return maker


def classes_below(kind: type[Exception]) -> Iterator[type[Exception]]:
    """`kind`'s subclasses, at every depth."""
    for below in kind.__subclasses__():
        yield below
        yield from classes_below(below)


@pytest.mark.own_stage
def test_a_page_is_closed_unless_it_is_listed(app: Flask, client: FlaskClient) -> None:
    """A stranger reaches what PUBLIC names and nothing else, a page that a fork adds included."""
    app.add_url_rule("/new", "new", lambda: "new", methods=["GET", "POST"])

    for rule in rules(app, "GET"):
        answer = client.get(path(rule))
        answer.close()
        sent_away = (answer.status_code, answer.location) == (303, "/sign-in")
        assert sent_away is (rule.endpoint not in PUBLIC), (
            f"{rule.rule}: list {rule.endpoint} in PUBLIC in app/pages/security.py if it is for all"
        )
    for rule in rules(app, "POST"):
        refused = client.post(path(rule)).status_code == 401
        assert refused is (rule.endpoint not in PUBLIC), rule.rule


def test_the_list_of_public_pages_names_real_ones(app: Flask) -> None:
    """A page that was renamed is not left behind in the list."""
    assert app.view_functions.keys() >= PUBLIC
    assert PUBLIC >= FROM_ELSEWHERE


def test_a_token_works_in_its_own_browser_only(app: Flask, client: FlaskClient) -> None:
    """S-08: nobody is signed in by a form that somebody else's browser was given."""
    elsewhere = app.test_client().get("/sign-in").get_data(as_text=True)
    client.get("/sign-in")

    answer = client.post("/sign-in", data=Page(200, elsewhere).form("/sign-in").fields)

    assert answer.status_code == 400


def test_pages_load_nothing_from_elsewhere(maker: Maker) -> None:
    """S-19: no inline script or style, and every file is our own."""
    pages = [maker.get(at) for at in ("/", "/dashboard", "/nowhere")]
    pages.append(maker.connect())
    maker.sign_out()
    pages += [maker.get(at) for at in ("/", "/sign-in", "/sign-up")]

    for page in pages:
        assert not re.search(r"<script(?! src)|<style|\sstyle=|\son\w+=", page.text)
        for address in re.findall(r'(?:src|href|action)="([^"]*)"', page.text):
            assert address.startswith("/"), address
            assert not address.startswith("//")


@pytest.mark.parametrize(
    ("method", "where", "status", "title"),
    [
        ("GET", "/canary", 404, "There is no such page"),
        ("GET", "/static/canary", 404, "There is no such page"),
        ("POST", "/dashboard?canary", 405, "This page does not work that way"),
        ("TRACE", "/?canary", 405, "This page does not work that way"),
    ],
)
def test_a_wrong_address_gets_a_page_without_it(
    client: FlaskClient, method: str, where: str, status: int, title: str
) -> None:
    """S-17, S-76: the page for it has words of its own, and the address is not among them."""
    answer = client.open(where, method=method)

    assert answer.status_code == status
    assert title in answer.get_data(as_text=True)
    assert b"canary" not in answer.data
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert ("Allow" in answer.headers) is (status == 405)


def test_an_unforeseen_error_tells_a_reference_only(
    app: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """S-39, S-74: the page holds nothing of the error; its reference finds the line in the log."""

    def fail() -> str:
        raise RuntimeError("canary")

    app.view_functions["dashboard.landing"] = fail

    answer = client.get("/")

    html = answer.get_data(as_text=True)
    assert answer.status_code == 500
    assert "canary" not in html
    assert f"<strong>{answer.headers['X-Request-ID']}</strong>" in html
    (record,) = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert record.__dict__["request_id"] == answer.headers["X-Request-ID"]
    assert record.exc_info


def test_every_failure_has_its_words() -> None:
    """Each class of error is explained by itself or by the class above it, with a status."""
    for kind in classes_below(ConnectError):
        told = next(
            error_messages.FAILURES[k] for k in kind.__mro__ if k in error_messages.FAILURES
        )

        assert 400 <= told.status < 600
        assert told.title
        assert told.text.endswith(".")
        if "Api" not in kind.__name__ and kind.__subclasses__() == []:
            assert kind in error_messages.FAILURES or kind.__name__ == "ConfigurationError", kind


def test_how_long_to_wait_is_told_in_whole_seconds() -> None:
    """An error that knows how long to wait has its say over the usual minute."""
    assert explain(TryAgainLater(2.6)).retry_after == 3


@pytest.fixture
def client_without_database(new_app: MakeApp) -> FlaskClient:
    """A browser in front of an app whose database does not answer."""
    nowhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nothing"}
    return new_app(**nowhere).test_client()


def test_without_a_database_pages_say_so(
    client_without_database: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """S-81: every page that needs it answers 503 and when to come back, and guesses nothing."""
    client = client_without_database
    with client.session_transaction() as session:
        session["_user_id"] = "somebody"

    for where in ("/", "/dashboard", "/sign-in"):
        answer = client.get(where)

        assert answer.status_code == 503, where
        assert answer.headers["Retry-After"] == "60"
        assert "This app takes a short break" in answer.get_data(as_text=True)
    assert "the database does not answer" in caplog.text


def test_without_a_database_the_process_is_up_and_not_ready(
    client_without_database: FlaskClient,
) -> None:
    """Whoever restarts processes and whoever sends them users are told different things."""
    assert client_without_database.get("/healthz").status_code == 200
    assert client_without_database.get("/readyz").status_code == 503


@pytest.mark.parametrize(
    ("revision", "answered"),
    [
        ("20261123_first_tables", (503, b"not ready\n")),
        # A host of the next version has migrated: this one serves on until it is replaced.
        ("29991231_next", (200, b"ok\n")),
    ],
)
def test_ready_means_migrated(
    app: Flask, client: FlaskClient, revision: str, answered: tuple[int, bytes]
) -> None:
    """Older tables lack what this code needs; newer ones have it still."""
    assert client.get("/readyz").get_data() == b"ok\n"
    with app.app_context():
        db.session.execute(text("UPDATE alembic_version SET version_num = :now"), {"now": revision})
        db.session.commit()

    answer = client.get("/readyz")

    assert (answer.status_code, answer.get_data()) == answered


def test_a_database_that_takes_no_write_is_not_ready(
    new_app: MakeApp, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A1: a host that can read and not write cannot save a token, so no user is sent to it."""
    monkeypatch.setattr(flask_config, "SQLITE_BUSY_SECONDS", 0.1)
    client = new_app().test_client()
    assert client.get("/readyz").status_code == 200

    with locked(database_url):
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200

    assert client.get("/readyz").status_code == 200


def test_a_database_that_stays_locked_is_told_and_recovers(
    new_app: MakeApp, sandbox: Sandbox, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-81: who has to write is told so in time, who only reads is served, and it recovers."""
    monkeypatch.setattr(flask_config, "SQLITE_BUSY_SECONDS", 0.1)
    maker = Maker(ClientBrowser(new_app().test_client()), sandbox)
    maker.sign_up()
    maker.connect()
    page = maker.dashboard()
    with locked(database_url):
        told = maker.submit(page, "/sign-out")
        read = maker.dashboard()

    assert (told.status, told.headers["Retry-After"]) == (503, "60")
    assert LIVE in read.text
    assert maker.submit(page, "/sign-out").status == 303


@pytest.mark.accounts
def test_a_try_that_cannot_be_counted_is_told_as_one_that_cannot_be_stored(
    new_app: MakeApp, sandbox: Sandbox, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-81, S-63: the answer does not tell a right password from a wrong one."""
    monkeypatch.setattr(flask_config, "SQLITE_BUSY_SECONDS", 0.1)
    maker = Maker(ClientBrowser(new_app().test_client()), sandbox)
    maker.sign_up()
    maker.sign_out()
    page = maker.get("/sign-in")
    with locked(database_url):
        for password in ("walnut drawers slide badly", maker.password):
            told = maker.submit(page, "/sign-in", email=maker.email, password=password)
            assert (told.status, told.headers.get("Retry-After")) == (503, "60")
