"""Accounts and browser sessions: sign-up, sign-in, sign-out, and how often one may try."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, update

from app.clock import SystemClock
from app.db import db
from app.models import RateLimit, User, UserSession
from app.web import passwords
from app.web.counters import DatabaseCounters
from tests.actors import ClientBrowser, Maker
from tests.conftest import MakeApp, MakeMaker
from tests.pages import Page
from tests.sandbox import Sandbox

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


def without_token(page: Page) -> str:
    """The page but for its CSRF token."""
    return re.sub(r'name="csrf_token" value="[^"]*"', "", page.text)


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


@pytest.mark.one_database
@pytest.mark.parametrize(
    "password", ["ten chars!", "x y zoo " * 25, "пароль из слов", "  spaces at both ends  "]
)
def test_a_good_password_is_taken_as_it_is(maker: Maker, password: str) -> None:
    """S-60: 10 to 200 characters of any kind, compared to the last space."""
    maker.password = password

    assert maker.sign_up().status == 200
    maker.sign_out()
    assert sign_in(maker, password + " ").status == 422
    assert maker.sign_in().status == 200


def test_an_address_is_one_account_however_it_is_written(maker: Maker) -> None:
    """Capitals and spaces around an e-mail address make no other account."""
    maker.sign_up()
    maker.sign_out()

    assert sign_up(maker, " ADA@Workshop.example ", GOOD).status == 422
    assert sign_in(maker, maker.password, " ADA@Workshop.example ").status == 303


def test_signing_up_again_changes_nothing(new_maker: MakeMaker) -> None:
    """S-63: a taken address is refused in words that leave the reason open, and stays as it is."""
    owner, other = new_maker("ada"), new_maker("bob")
    owner.sign_up()

    page = sign_up(other, owner.email, GOOD)

    assert page.status == 422
    assert "No account can be made with this address." in page.text
    assert sign_in(other, GOOD, owner.email).status == 422
    assert sign_in(other, owner.password, owner.email).status == 303


@pytest.mark.one_database
def test_a_stranger_cannot_tell_who_has_an_account(new_maker: MakeMaker) -> None:
    """S-63: a wrong password and an unknown address get the same page, letter by letter."""
    owner, other = new_maker("ada"), new_maker("bob")
    owner.sign_up()

    known, unknown = sign_in(other, GOOD, owner.email), sign_in(other, GOOD, "xyz@workshop.example")

    assert known.status == unknown.status == 422
    assert without_token(known) == without_token(unknown).replace("xyz@", "ada@")


def test_looking_for_nobody_costs_a_whole_hash() -> None:
    """S-63: what an unknown address is compared with has the costs of a real hash."""
    assert not passwords.outdated(passwords._NOBODYS)
    assert not passwords.matches(GOOD, None)


def test_nothing_of_the_session_before_survives_signing_in(
    client: FlaskClient, maker: Maker
) -> None:
    """S-51: signing in begins a new session, whatever somebody had planted in the old one."""
    maker.sign_up()
    first = _token(client)
    maker.sign_out()
    with client.session_transaction() as session:
        session["planted"] = "x"
        session["_user_id"] = first

    maker.sign_in()

    with client.session_transaction() as session:
        assert "planted" not in session
        assert session["_user_id"] != first


def test_a_cookie_copied_before_signing_out_is_dead(client: FlaskClient, maker: Maker) -> None:
    """S-54: signing out ends the session on the server, for every copy of its cookie."""
    maker.sign_up()
    copied = client.get_cookie("session", domain="localhost")
    assert copied
    maker.sign_out()

    client.set_cookie("session", copied.value)

    assert client.get("/dashboard").location == "/sign-in"


@pytest.mark.one_database
def test_signing_out_clears_the_browser(client: FlaskClient, maker: Maker) -> None:
    """S-54: signing out also asks the browser to forget what it stored."""
    maker.sign_up()

    answer = maker.submit(maker.dashboard(), "/sign-out")

    assert answer.status == 303
    assert answer.headers["Clear-Site-Data"] == '"storage"'
    maker.get("/")
    assert client.get_cookie("session", domain="localhost") is None


@pytest.mark.one_database
def test_reading_the_table_opens_no_session(app: Flask, client: FlaskClient, maker: Maker) -> None:
    """S-50: the database holds a hash of what the cookie holds."""
    maker.sign_up()

    with app.app_context():
        stored = db.session.scalar(select(UserSession.token_hash)) or ""

    token = _token(client)
    assert len(token) >= 43
    assert token not in stored


@pytest.mark.parametrize(
    ("column", "age"),
    [("last_seen_at", timedelta(hours=24, seconds=1)), ("expires_at", timedelta(days=14))],
)
def test_a_session_ends_by_itself(app: Flask, maker: Maker, column: str, age: timedelta) -> None:
    """S-55: after a day without a visit, and after two weeks in any case."""
    maker.sign_up()
    with app.app_context():
        session = db.session.scalars(select(UserSession)).one()
        setattr(session, column, getattr(session, column) - age)
        db.session.commit()

    assert maker.browser.send("GET", "/dashboard").location == "/sign-in"


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
@pytest.mark.parametrize(
    "target",
    ["//e.example", "///e.example", "/\\e.example", "https:e.example", "javascript:alert(1)", "/x"],
)
def test_signing_in_leads_to_the_dashboard_only(maker: Maker, target: str) -> None:
    """S-23: no address in the query sends anybody anywhere."""
    maker.sign_up()
    maker.sign_out()
    form = maker.get("/sign-in").form("/sign-in").fields
    filled = form | {"email": maker.email, "password": maker.password, "next": target}

    page = maker.browser.send("POST", f"/sign-in?next={target}", filled)

    assert (page.status, page.location) == (303, "/dashboard")


@pytest.mark.one_database
def test_cookies_on_loopback(client: FlaskClient) -> None:
    """S-53, S-56: one cookie, not for scripts, not for other sites' forms, never remembered."""
    cookies = client.get("/sign-in").headers.getlist("Set-Cookie")

    assert len(cookies) == 1
    assert cookies[0].startswith("session=")
    assert {"HttpOnly", "Path=/", "SameSite=Lax"} == set(cookies[0].split("; ")[1:])


@pytest.mark.one_database
def test_cookies_over_https(new_app: MakeApp) -> None:
    """S-53: over https the cookie is Secure and bound to this very host."""
    app = new_app(KATANA_REDIRECT_URI="https://localhost/katana/callback")
    client = app.test_client()

    (cookie,) = client.get("/sign-in", base_url="https://localhost").headers.getlist("Set-Cookie")

    assert cookie.startswith("__Host-session=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} == set(cookie.split("; ")[1:])


@pytest.mark.one_database
def test_guessing_is_throttled_across_workers(new_served_maker: MakeMaker) -> None:
    """S-62: two worker processes count together; the page says how long to wait."""
    owner, guesser = new_served_maker("ada"), new_served_maker("eve")
    owner.sign_up()

    answers = [sign_in(guesser, f"{GOOD} {n}", owner.email) for n in range(12)]

    assert [page.status for page in answers] == [422] * 10 + [429] * 2
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 300
    assert "Too many tries" in answers[-1].text


def test_a_throttled_address_keeps_the_owner_in(app: Flask, new_maker: MakeMaker) -> None:
    """S-62: guessing at one address locks nobody out at another, and no header pretends one."""
    owner = new_maker("ada")
    owner.sign_up()
    owner.sign_out()
    here, elsewhere = app.test_client(), app.test_client()

    for n in range(10):
        _guess(here, owner.email, f"{GOOD} {n}", **{"X-Forwarded-For": f"192.0.2.{n}"})

    assert _guess(here, owner.email, owner.password, **{"X-Forwarded-For": "192.0.2.99"}) == 429
    assert _guess(elsewhere, owner.email, owner.password, address="198.51.100.7") == 303


def test_a_crowd_of_addresses_is_throttled_and_the_owner_is_not(
    app: Flask, new_maker: MakeMaker
) -> None:
    """S-62: many addresses guess in vain; where the account signed in lately, it still can."""
    owner = new_maker("ada")
    owner.sign_up()
    owner.sign_out()
    home = {"address": "198.51.100.7"}
    assert _guess(app.test_client(), owner.email, owner.password, **home) == 303

    crowd = [
        _guess(app.test_client(), owner.email, f"{GOOD} {n}", address=f"192.0.2.{n}")
        for n in range(31)
    ]

    assert crowd == [422] * 30 + [429]
    assert _guess(app.test_client(), owner.email, owner.password, address="203.0.113.1") == 429
    assert _guess(app.test_client(), owner.email, owner.password, **home) == 303


@pytest.mark.one_database
def test_one_household_is_one_address(app: Flask) -> None:
    """S-62: addresses of one IPv6 network count together."""
    network = [f"2001:db8:1:2::{n:x}" for n in range(1, 12)]

    answers = [_guess(app.test_client(), "ada@workshop.example", GOOD, address=a) for a in network]

    assert answers == [422] * 10 + [429]


def test_a_throttle_ends_with_its_window(app: Flask, client: FlaskClient) -> None:
    """S-62: nobody is locked out for good."""
    for n in range(11):
        _guess(client, "ada@workshop.example", f"{GOOD} {n}")
    assert _guess(client, "ada@workshop.example", GOOD) == 429

    with app.app_context():
        db.session.execute(update(RateLimit).values(expires_at=SystemClock().database_time(-1)))
        db.session.commit()

    assert _guess(client, "ada@workshop.example", GOOD) == 422


@pytest.mark.one_database
def test_a_forged_form_uses_up_no_tries(app: Flask, client: FlaskClient) -> None:
    """S-62: only a form with its token counts, so another site cannot lock a user out."""
    for _ in range(12):
        answer = client.post("/sign-in", data={"email": "ada@workshop.example", "password": GOOD})
        assert answer.status_code == 400

    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(RateLimit)) == 0


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


def _token(client: FlaskClient) -> str:
    with client.session_transaction() as session:
        return str(session["_user_id"])


def _guess(
    client: FlaskClient, email: str, password: str, address: str = "127.0.0.1", **headers: str
) -> int:
    """The status that a sign-in from `address` is answered with."""
    came_from = {"REMOTE_ADDR": address}
    page = client.get("/sign-in", environ_overrides=came_from)
    form = Page(200, page.get_data(as_text=True)).form("/sign-in").fields
    filled = form | {"email": email, "password": password}
    answer = client.post("/sign-in", data=filled, environ_overrides=came_from, headers=headers)
    return answer.status_code
