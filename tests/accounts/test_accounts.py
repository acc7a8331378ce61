"""Accounts and browser sessions: sign-up, sign-in, sign-out, and how often one may try."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from app.accounts import device_cookies, passwords
from app.accounts.models import User, UserSession
from app.accounts.rate_limit_storage import DatabaseCounters
from app.database.clock import SystemClock
from app.database.db import db
from tests.conftest import MakeApp, MakeMaker
from tests.support.actors import ClientBrowser, Maker
from tests.support.pages import Page
from tests.support.sandbox import Sandbox

GOOD = "walnut drawers slide well"


@pytest.fixture
def maker(client: FlaskClient, sandbox: Sandbox) -> Maker:
    """One maker whose browser is `client`, so that a test can look into its cookies."""
    return Maker(ClientBrowser(client), sandbox)


def sign_up(maker: Maker, email: str, password: str) -> Page:
    """The answer to a sign-up form that is filled in like this."""
    return maker.submit(maker.get("/sign-up"), "/sign-up", email=email, password=password)


def sign_in(maker: Maker, password: str, email: str | None = None) -> Page:
    """The answer to a sign-in form that is filled in like this."""
    email = maker.email if email is None else email
    return maker.submit(maker.get("/sign-in"), "/sign-in", email=email, password=password)


@pytest.mark.one_database
def test_signing_up_signs_in(maker: Maker) -> None:
    """A new account leads straight to its dashboard."""
    page = maker.sign_up()

    assert page.status == 200
    assert maker.email in page.text
    assert page.form("/katana/connect")


def test_a_password_is_kept_as_argon2id_only(app: Flask, maker: Maker) -> None:
    """S-61: the table holds a hash with OWASP's costs, and the password nowhere."""
    maker.sign_up()

    with app.app_context():
        stored = db.session.scalar(select(User.password_hash)) or ""
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert maker.password not in stored


def test_a_hash_of_other_costs_is_renewed_at_sign_in(app: Flask, maker: Maker) -> None:
    """S-61: when the costs change, each hash follows at the next sign-in."""
    maker.sign_up()
    maker.sign_out()
    old = passwords.Argon2id(salt=b"s" * 16, length=32, iterations=1, lanes=1, memory_cost=8192)
    weaker = old.derive_phc_encoded(maker.password.encode())
    with app.app_context():
        db.session.execute(update(User).values(password_hash=weaker))
        db.session.commit()

    assert maker.sign_in().status == 200

    with app.app_context():
        assert not passwords.outdated(db.session.scalar(select(User.password_hash)) or "")
    maker.sign_out()
    assert maker.sign_in().status == 200


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("email", "password", "sentence"),
    [
        ("", GOOD, "Enter your e-mail address."),
        ("ada", GOOD, "Enter an e-mail address like name@example.com."),
        ("ada@workshop", GOOD, "Enter an e-mail address like name@example.com."),
        ("a da@workshop.example", GOOD, "Enter an e-mail address like name@example.com."),
        ("ada\x00@workshop.example", GOOD, "Enter an e-mail address like name@example.com."),
        (f"{'a' * 250}@b.example", GOOD, "Enter an e-mail address like name@example.com."),
        ("ada@workshop.example", "", "Enter your password."),
        ("ada@workshop.example", "too short", "Use at least 10 characters."),
        ("ada@workshop.example", "long " * 41, "Use at most 200 characters."),
        ("ada@workshop.example", "Password1234", "This password is among the first"),
        ("ada@workshop.example", "aaaaaaaaaaaa", "This password is among the first"),
        ("ada@workshop.example", "a" * 40 + "walnut drawers", "This password begins too simply."),
        ("adalovelace@workshop.example", "adalovelace1815", "Do not build it on your e-mail"),
        ("ada@workshop.example", "Katana2026!!", "Do not build it on your e-mail"),
    ],
)
def test_a_bad_sign_up_is_explained_next_to_its_field(
    maker: Maker, email: str, password: str, sentence: str
) -> None:
    """S-60: a sentence says what is wrong, what was typed is kept, and never the password."""
    page = sign_up(maker, email, password)

    assert page.status == 422
    assert f'class="error" id="{"password" if password != GOOD else "email"}-error"' in page.text
    assert sentence in page.text
    assert "<title>Error: " in page.text
    assert page.form("/sign-up").fields["email"] == email.strip()
    assert not password or password not in page.text


def test_an_address_is_one_account_however_it_is_written(maker: Maker) -> None:
    """Capitals and spaces around an e-mail address make no other account."""
    maker.sign_up()
    maker.sign_out()

    assert sign_up(maker, " ADA@Workshop.example ", GOOD).status == 422
    assert sign_in(maker, maker.password, " ADA@Workshop.example ").status == 303


@pytest.mark.one_database
def test_signing_out_clears_what_pages_have_stored(maker: Maker) -> None:
    """S-54: and no cookie, since that would reach every app on the same domain."""
    maker.sign_up()

    page = maker.submit(maker.dashboard(), "/sign-out")

    assert page.headers["Clear-Site-Data"] == '"storage"'


def test_looking_for_nobody_costs_a_whole_hash() -> None:
    """S-63: what an unknown address is compared with has the costs of a real hash."""
    assert not passwords.outdated(passwords._NOBODYS)
    assert not passwords.matches(GOOD, None)


def test_a_visit_keeps_the_session(app: Flask, maker: Maker) -> None:
    """S-55: a page seen now counts from now, and is written down every few minutes at most."""
    maker.sign_up()

    def seen(seconds_ago: float) -> bool:
        """Whether a visit, made when the last one was so long ago, is written down."""
        with app.app_context():
            past = SystemClock().database_time(-seconds_ago)
            db.session.execute(update(UserSession).values(last_seen_at=past))
            db.session.commit()
            before = db.session.scalar(select(UserSession.last_seen_at))
        maker.dashboard()
        with app.app_context():
            return db.session.scalar(select(UserSession.last_seen_at)) != before

    assert seen(3600)
    assert not seen(60)


@pytest.mark.one_database
def test_cookies_over_https(new_app: MakeApp) -> None:
    """S-53: over https the cookie is Secure and bound to this very host."""
    app = new_app(KATANA_REDIRECT_URI="https://localhost/katana/callback")
    client = app.test_client()

    (cookie,) = client.get("/sign-in", base_url="https://localhost").headers.getlist("Set-Cookie")

    assert cookie.startswith("__Host-session=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} == set(cookie.split("; ")[1:])


@pytest.mark.accounts
@pytest.mark.one_database
def test_what_makes_a_browser_known_goes_over_https_alone(new_app: MakeApp) -> None:
    """S-53, S-62: it is Secure and bound to this very host, like the session's."""
    app = new_app(KATANA_REDIRECT_URI="https://localhost/katana/callback")

    with app.test_request_context("/sign-in", base_url="https://localhost"):
        response = app.make_response("")
        device_cookies.remember(response, "an account")

    (cookie,) = response.headers.getlist("Set-Cookie")
    assert cookie.startswith("__Host-known=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} < set(cookie.split("; ")[1:])


def test_counting_misses_nothing(app: Flask) -> None:
    """Sixteen threads that count at once get sixteen different numbers."""
    counters = DatabaseCounters()

    def count(_: int) -> int:
        with app.app_context():
            return counters.incr("key", 60)

    with ThreadPoolExecutor(16) as pool:
        numbers = sorted(pool.map(count, range(16)))

    assert numbers == list(range(1, 17))
    with app.app_context():
        counters.clear("key")
        assert counters.get("key") == 0
        assert counters.check()


@pytest.mark.one_database
@pytest.mark.parametrize("path", ["/sign-up", "/sign-in"])
def test_a_second_press_after_the_first_was_answered_signs_in_as_well(
    new_maker: MakeMaker, path: str
) -> None:
    """Its form is of the time before: it leads on to the dashboard, in place of an error."""
    ada = new_maker()
    if path == "/sign-in":
        ada.sign_up()
        ada.sign_out()
    form = ada.get(path)
    typed = {"email": ada.email, "password": ada.password}
    assert ada.submit(form, path, **typed).status == 303

    again = ada.submit(form, path, **typed)

    assert (again.status, again.location) == (303, "/dashboard")
    assert ada.dashboard().status == 200


@pytest.mark.one_database
def test_a_forged_form_of_one_who_is_not_signed_in_is_refused_still(maker: Maker) -> None:
    """The way on is for those alone who are signed in, and changes nothing."""
    maker.get("/sign-up")
    answer = maker.browser.send(
        "POST", "/sign-up", {"csrf_token": "forged", "email": maker.email, "password": "x" * 20}
    )

    assert answer.status == 400
