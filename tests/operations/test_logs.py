"""The log: one line for each thing that happens, that a program and a person can read."""

import json
import logging
import re
import sys
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import WSGIRequestHandler, make_server

from app.operations import logs
from tests.conftest import MakeApp, MakeMaker
from tests.support.actors import Maker
from tests.support.commands import run
from tests.support.sandbox import TIMEOUT, Sandbox
from tests.support.servers import Served

pytestmark = pytest.mark.one_database

ALWAYS = ("time", "level", "logger", "message", "request_id")
EVENT = ("event", "detail", "connection_id", "user_id", "duration_seconds", "took_over")
REQUEST = ("method", "path", "status", "duration_seconds", "address")
FORGED = "harmless\r\n2026-01-01 00:00:00 ERROR   forged\x1b[2K\u2028forged \u202ederorrim"


def lines_of(text: str) -> list[dict[str, Any]]:
    """Each line of a log in JSON."""
    return [json.loads(line) for line in text.splitlines()]


def written(form: str, *, error: str = "") -> str:
    """A line with a forged message, and perhaps an error with a forged text."""
    exc_info = None
    if error:
        try:
            raise ValueError(error)
        except ValueError:
            exc_info = sys.exc_info()
    record = logging.LogRecord("app.x", logging.INFO, "x.py", 1, "%s", (FORGED,), exc_info)
    return logs.formatter(form).format(record)


class TestServed:
    """The log as gunicorn and its workers write it."""

    @pytest.fixture
    def environ(self, environ: dict[str, str]) -> dict[str, str]:
        return environ | {"LOG_FORMAT": "json"}

    @pytest.mark.slow
    @pytest.mark.own_stage
    def test_what_happens_is_a_line_each(
        self, served: Served, new_served_maker: MakeMaker, sandbox: Sandbox
    ) -> None:
        """S-37, S-80: events and requests, with their ids; all of it JSON, and no query in it."""
        ada, bea = new_served_maker("ada"), new_served_maker("bea")
        sandbox.rules(access_token_seconds=3600)
        for maker in (ada, bea):
            maker.sign_up()
            maker.connect()
        sandbox.expire()
        renewed = ada.dashboard()
        sandbox.fault("refresh", "status", status=429, retry_after="30")
        busy = bea.dashboard()
        bea.disconnect()
        forged = ada.browser.send("GET", "/sign-in%0d%0a{}?code=canary")
        served.stop()

        lines = lines_of(served.log())
        assert "Starting gunicorn" in lines[0]["message"]
        assert all(datetime.fromisoformat(line["time"]).tzinfo == UTC for line in lines)
        events = [line for line in lines if line["logger"] == "app.connections.history"]
        assert [(line["event"], line["detail"], line["level"]) for line in events] == [
            ("connected", None, "INFO"),
            ("connected", None, "INFO"),
            ("refreshed", None, "INFO"),
            ("refresh_failed", "login_busy", "WARNING"),
            ("disconnected", "revoked", "INFO"),
        ]
        assert {tuple(line) for line in events} == {(*ALWAYS, *EVENT)}
        assert [line["request_id"] for line in events[2:4]] == [
            page.headers["X-Request-ID"] for page in (renewed, busy)
        ]
        assert [line["user_id"] for line in events] == [1, 2, 1, 2, 2]
        assert len({line["connection_id"] for line in events}) == 2
        assert all(line["duration_seconds"] >= 0 for line in events[:-1])
        requests = [line for line in lines if line["logger"] == "gunicorn.access"]
        assert {tuple(line) for line in requests} == {(*ALWAYS, *REQUEST)}
        its_id = forged.headers["X-Request-ID"]
        [request] = [line for line in requests if line["request_id"] == its_id]
        assert (request["method"], request["status"]) == ("GET", 404)
        assert request["path"] == "/sign-in\r\n{}"
        assert "canary" not in served.log()
        assert "code=" not in served.log()


@pytest.mark.accounts
def test_who_comes_and_who_is_turned_away_is_a_line_each(
    maker: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    """S-80: with the fields of what happens to a connection, and with nothing that was typed in."""
    caplog.set_level(logging.INFO, "app")
    maker.sign_up()
    maker.get("/katana/callback?code=canary&state=canary")
    maker.sign_out()
    maker.password = "canary canary canary"
    for _ in range(11):
        answer = maker.sign_in()
    maker.email = "canary@workshop.example"
    maker.sign_in()

    told = [json.loads(logs.formatter(logs.JSON).format(record)) for record in caplog.records]
    lines = [(line["event"], line["detail"], line["user_id"], line["level"]) for line in told]
    assert lines == [
        ("signed_up", None, 1, "INFO"),
        ("signed_in", None, 1, "INFO"),
        ("failed", "AttemptUsed", 1, "WARNING"),
        ("signed_out", None, 1, "INFO"),
        *[("sign_in_refused", None, 1, "WARNING")] * 10,
        ("throttled", "accounts.sign_in_submit", None, "WARNING"),
        ("sign_in_refused", None, None, "WARNING"),
    ]
    assert answer.status == 429
    assert "canary" not in str(told)


def test_the_server_of_developers_writes_no_query_either(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """S-37: `flask run` shows the path of a callback, and not the code."""
    caplog.set_level(logging.INFO, "werkzeug")
    server = make_server("localhost", 0, app, request_handler=WSGIRequestHandler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    url = f"http://localhost:{server.port}/katana/callback?code=canary&state=canary"
    requests.get(url, allow_redirects=False, timeout=TIMEOUT)
    thread.join()
    server.server_close()

    assert '"GET /katana/callback?... HTTP/1.1"' in caplog.text
    assert "canary" not in caplog.text


def test_no_value_can_forge_a_line_of_text() -> None:
    """S-80: line ends, and what a terminal obeys, stand in the line as plain characters."""
    line = written(logs.TEXT)

    assert line.isprintable()
    assert "harmless\\r\\n2026-01-01" in line


def test_no_error_can_forge_a_line_of_text() -> None:
    """The lines of a traceback are set in, those of the error's own text too."""
    first, *others = written(logs.TEXT, error=FORGED).split("\n")

    assert first.endswith("derorrim")
    assert "ValueError: harmless" in others[-3]
    assert all(re.fullmatch(r" {4}.*", line) and line.isprintable() for line in others)


def test_no_value_can_forge_a_line_of_json() -> None:
    """A line is one object, whatever is in it."""
    line = written(logs.JSON, error=FORGED)

    assert len(line.splitlines()) == 1
    assert json.loads(line)["message"] == FORGED
    assert json.loads(line)["traceback"].startswith("Traceback")


def test_a_line_is_written_once_however_many_apps_there_are(
    new_app: MakeApp, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each app of a process sets up the same one handler, in the form of the last."""
    new_app()
    new_app(LOG_FORMAT="json")
    logging.getLogger("app.connections").info("told once")
    logging.getLogger("another.library").warning("told once too")

    lines = lines_of(capsys.readouterr().err)

    assert [line["message"] for line in lines] == ["told once", "told once too"]


def test_the_form_follows_from_how_users_come() -> None:
    """Readable on this machine, JSON where the app is served by https; what is set wins."""
    assert logs.form_for(None, "http://localhost:8000/katana/callback") == logs.TEXT
    assert logs.form_for(None, "https://app.example/katana/callback") == logs.JSON
    assert logs.form_for("text", "https://app.example/katana/callback") == logs.TEXT
    assert logs.form_for("JSON", "http://localhost:8000/katana/callback") == logs.JSON


def test_nothing_below_the_level_is_written(
    new_app: MakeApp, capsys: pytest.CaptureFixture[str]
) -> None:
    """LOG_LEVEL is the app's; libraries tell of trouble only."""
    new_app(LOG_LEVEL="WARNING")
    logging.getLogger("app.connections").info("too small")
    logging.getLogger("another.library").info("too small")

    assert capsys.readouterr().err == ""


class TestRequestIds:
    """Each request has one id: in its answer, and in every line of its log."""

    def test_every_answer_has_one_of_its_own(self, client: FlaskClient) -> None:
        """Pages, refusals, static files and what Flask answers by itself."""
        answers = [
            client.get("/"),
            client.get("/nowhere"),
            client.post("/sign-out"),
            client.get("/static/style.css"),
            client.get("/", headers={"Host": "elsewhere.example"}),
        ]

        for answer in answers:
            answer.close()
        ids = [answer.headers["X-Request-ID"] for answer in answers]
        assert len(set(ids)) == len(answers)
        assert all(re.fullmatch("[0-9a-f]{12}", found) for found in ids)

    def test_a_line_outside_of_requests_has_none(
        self, client: FlaskClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The id of a request that is over sticks to nothing."""
        client.get("/")
        logging.getLogger("app").warning("afterwards")

        assert caplog.records[-1].__dict__["request_id"] is None

    @pytest.mark.parametrize(
        "given",
        [
            "",
            "short",
            "x" * 65,
            "abcdefgh\r\nX-Evil: 1",
            "abcdefgh ijkl",
            "äbcdefghi",
            "<b>abcdefgh",
        ],
    )
    def test_an_id_that_is_no_plain_word_is_replaced(self, new_app: MakeApp, given: str) -> None:
        """Not even a proxy puts just anything into the log and on a page."""
        client = new_app(PROXY_HOPS="1").test_client()
        environ = {"HTTP_X_REQUEST_ID": given}

        answer = client.get("/", environ_overrides=environ)

        assert re.fullmatch("[0-9a-f]{12}", answer.headers["X-Request-ID"])

    def test_a_proxy_may_give_it(self, new_app: MakeApp) -> None:
        """So that the proxy's log and this one find each other."""
        given = {"X-Request-ID": "7f3e1c5a-0b1d-4c8e-9f00-6d0a9b8c7d6e"}
        behind_proxy = new_app(PROXY_HOPS="1").test_client()
        without = new_app(PROXY_HOPS="0").test_client()

        assert behind_proxy.get("/", headers=given).headers["X-Request-ID"] == given["X-Request-ID"]
        assert without.get("/", headers=given).headers["X-Request-ID"] != given["X-Request-ID"]


def test_the_lines_of_a_command_carry_its_run(
    app: Flask, maker: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    """What keep-alive renews, in whatever thread, is told under the id of that run."""
    maker.sign_up()
    maker.connect()
    caplog.clear()

    assert run(app, "connections", "keep-alive", "--idle-days", "0").status == 0

    (line,) = [record for record in caplog.records if "refreshed" in record.getMessage()]
    assert re.fullmatch("keep-alive-[0-9a-f]{12}", line.__dict__["request_id"])
