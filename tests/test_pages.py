"""What holds for every page: closed by default, guarded, and failing politely."""

import logging
import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.routing import Rule

from app.db import db
from app.errors import ConnectError, TryAgainLater
from app.web import explanations
from app.web.error_pages import explain
from app.web.security import FROM_ELSEWHERE, PUBLIC
from tests.actors import ClientBrowser, Maker
from tests.conftest import MakeApp
from tests.pages import Page
from tests.sandbox import Sandbox

pytestmark = pytest.mark.one_database

GUARDS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@pytest.fixture
def maker(client: FlaskClient, sandbox: Sandbox) -> Maker:
    """A maker who is signed in, and whose browser is `client`."""
    maker = Maker(ClientBrowser(client), sandbox)
    maker.sign_up()
    return maker


def rules(app: Flask, method: str) -> Iterator[Rule]:
    """The routes that take `method`."""
    return (r for r in app.url_map.iter_rules() if method in (r.methods or ()))


def path(rule: Rule) -> str:
    """A path that leads to the route."""
    return rule.rule.replace("<path:filename>", "style.css")


def classes_below(kind: type[Exception]) -> Iterator[type[Exception]]:
    """`kind`'s subclasses, at every depth."""
    for below in kind.__subclasses__():
        yield below
        yield from classes_below(below)


def test_a_page_is_closed_unless_it_is_listed(app: Flask, client: FlaskClient) -> None:
    """A stranger reaches what PUBLIC names and nothing else, a page that a fork adds included."""
    app.add_url_rule("/new", "new", lambda: "new", methods=["GET", "POST"])

    for rule in rules(app, "GET"):
        answer = client.get(path(rule))
        answer.close()
        sent_away = (answer.status_code, answer.location) == (303, "/sign-in")
        assert sent_away is (rule.endpoint not in PUBLIC), (
            f"{rule.rule}: list {rule.endpoint} in PUBLIC in app/web/security.py if it is for all"
        )
    for rule in rules(app, "POST"):
        refused = client.post(path(rule)).status_code == 401
        assert refused is (rule.endpoint not in PUBLIC), rule.rule


def test_the_list_of_public_pages_names_real_ones(app: Flask) -> None:
    """A page that was renamed is not left behind in the list."""
    assert app.view_functions.keys() >= PUBLIC
    assert PUBLIC >= FROM_ELSEWHERE


def test_every_form_needs_its_token(app: Flask, client: FlaskClient, maker: Maker) -> None:
    """S-66: no POST is taken without a token, but for the callback, which `state` protects."""
    for rule in rules(app, "POST"):
        answer = client.post(path(rule))
        html = answer.get_data(as_text=True)

        assert answer.status_code == 400, rule.rule
        assert ("This form was open for too long" in html) is (rule.endpoint not in FROM_ELSEWHERE)


def test_a_token_works_in_its_own_browser_only(app: Flask, client: FlaskClient) -> None:
    """S-08: nobody is signed in by a form that somebody else's browser was given."""
    elsewhere = app.test_client().get("/sign-in").get_data(as_text=True)
    client.get("/sign-in")

    answer = client.post("/sign-in", data=Page(200, elsewhere).form("/sign-in").fields)

    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("site", "status"),
    [("cross-site", 403), ("same-site", 403), ("same-origin", 303), ("none", 303)],
)
def test_a_form_on_another_site_is_refused(
    client: FlaskClient, maker: Maker, site: str, status: int
) -> None:
    """S-66: a form that the browser says was sent from elsewhere is not taken, token or not."""
    form = maker.dashboard().form("/sign-out").fields

    answer = client.post("/sign-out", data=form, headers={"Sec-Fetch-Site": site})

    assert answer.status_code == status


def test_every_answer_is_guarded(app: Flask, client: FlaskClient, maker: Maker) -> None:
    """S-20, S-21, S-67, S-70, S-71: the headers are on every page, static files and errors too."""
    for where in [*map(path, rules(app, "GET")), "/nowhere", "/static/nowhere.css"]:
        answer = client.get(where)
        answer.close()
        headers = dict(answer.headers)

        assert headers.items() >= GUARDS.items(), where
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Permissions-Policy"]
        assert headers["Referrer-Policy"] in {"same-origin", "no-referrer", "strict-origin"}
        if "style.css" not in where:
            assert headers["Cache-Control"] == "no-store", where
            assert "Cookie" in headers["Vary"], where


def test_the_policy_lets_the_browser_go_to_katana(client: FlaskClient, sandbox: Sandbox) -> None:
    """S-67: nothing is loaded or sent but here, and to the page where the user approves."""
    assert client.get("/").headers["Content-Security-Policy"].split("; ") == [
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self'",
        f"form-action 'self' {sandbox.url}",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_https_is_asked_for_where_there_is_https(new_app: MakeApp, scheme: str) -> None:
    """S-69: HSTS for a year, subdomains included; not on loopback, where it would stick."""
    app = new_app(KATANA_REDIRECT_URI=f"{scheme}://localhost/katana/callback")
    answer = app.test_client().get("/", base_url=f"{scheme}://localhost")

    expected = {"http": None, "https": "max-age=31536000; includeSubDomains"}
    assert answer.headers.get("Strict-Transport-Security") == expected[scheme]


def test_over_https_every_form_works_from_its_page(new_app: MakeApp, sandbox: Sandbox) -> None:
    """S-68: over https the CSRF check wants a Referer, which our pages let the browser send."""
    client = new_app(KATANA_REDIRECT_URI="https://localhost/katana/callback").test_client()
    page = client.get("/sign-up", base_url="https://localhost")
    form = Page(200, page.get_data(as_text=True)).form("/sign-up").fields
    filled = form | {"email": "ada@workshop.example", "password": "walnut drawers slide well"}

    def submit(**headers: str) -> int:
        return client.post(
            "/sign-up", base_url="https://localhost", data=filled, headers=headers
        ).status_code

    assert page.headers["Referrer-Policy"] == "same-origin"
    assert submit() == 400
    assert submit(Referer="https://evil.example/") == 400
    assert submit(Referer="https://localhost/sign-up") == 303


def test_pages_load_nothing_from_elsewhere(maker: Maker) -> None:
    """S-19: no script, no inline style, and every file is our own."""
    pages = [maker.get(at) for at in ("/", "/dashboard", "/nowhere")]
    pages.append(maker.connect())
    maker.sign_out()
    pages += [maker.get(at) for at in ("/", "/sign-in", "/sign-up")]

    for page in pages:
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=", page.text)
        for address in re.findall(r'(?:src|href|action)="([^"]*)"', page.text):
            assert address.startswith("/"), address
            assert not address.startswith("//")


@pytest.mark.parametrize("where", ["/", "/dashboard", "/healthz", "/readyz", "/static/style.css"])
def test_another_host_is_not_answered(client: FlaskClient, where: str) -> None:
    """S-72: a request for a host that is not ours is refused on every route."""
    answer = client.get(where, headers={"Host": "evil.example"})

    assert answer.status_code == 400
    assert b"evil" not in answer.data


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


def test_a_large_form_is_refused(client: FlaskClient) -> None:
    """S-75: no form here needs more than 64 KiB."""
    answer = client.post("/sign-in", data={"email": "a" * 70_000})

    assert answer.status_code == 413
    assert "That is too much" in answer.get_data(as_text=True)


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
        told = next(explanations.FAILURES[k] for k in kind.__mro__ if k in explanations.FAILURES)

        assert 400 <= told.status < 600
        assert told.title
        assert told.text.endswith(".")
        if "Api" not in kind.__name__ and kind.__subclasses__() == []:
            assert kind in explanations.FAILURES or kind.__name__ == "ConfigurationError", kind


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


def test_ready_means_migrated(app: Flask, client: FlaskClient) -> None:
    """A database that another version of the code has made is not ready for this one."""
    assert client.get("/readyz").get_data() == b"ok\n"
    with app.app_context():
        db.session.execute(text("UPDATE alembic_version SET version_num = 'other'"))
        db.session.commit()

    answer = client.get("/readyz")

    assert (answer.status_code, answer.get_data()) == (503, b"not ready\n")
