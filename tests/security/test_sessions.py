"""Browser sessions, attacked from outside: S-50 to S-59, each test named by its item.

Items that do not apply, and what a fork that makes them apply must keep:

S-52  connecting changes nobody's rights, so the session stays the same; that it takes none from an
      address is tested.
S-53  the `__Host-` cookie of https is in `tests/accounts/test_accounts.py`: nothing speaks TLS
      here.
S-56  there is no remember-me. Flask-Login's own is good for ever and knows no sign-out: a fork that
      wants one makes sessions last longer instead.
S-57  there is no password change and no reset. A fork that adds one asks for the password before,
      and deletes the user's other rows of `user_sessions` in the same transaction.
"""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy import func, select, update

from app import create_app
from app.accounts.models import UserSession
from app.database.clock import SystemClock
from app.database.db import db
from tests.support.actors import ClientBrowser, Maker
from tests.support.callbacks import callback
from tests.support.cookies import opened
from tests.support.pages import Page
from tests.support.rig import Jar, Rig
from tests.support.rows import attempts

SIGNED_IN = 200
SENT_TO_SIGN_IN = 303
FORM_SALT = "wtf-csrf-token"  # of Flask-WTF


@pytest.fixture
def ada(rig: Rig) -> Maker:
    """A maker who is signed in."""
    ada = rig.maker("ada")
    ada.sign_up()
    return ada


def sees_dashboard(jar: Jar) -> int:
    """The status of the dashboard with these cookies: it is either shown, or leads to sign in."""
    page = jar.send("GET", "/dashboard")
    assert page.status == SIGNED_IN or page.location == "/sign-in"
    return page.status


def sessions(rig: Rig) -> int:
    """How many browsers are signed in."""
    with rig.app.app_context():
        return db.session.scalar(select(func.count()).select_from(UserSession)) or 0


def change_session(rig: Rig, column: str, by: timedelta) -> None:
    """Let a time of the one session have been earlier."""
    with rig.app.app_context():
        session = db.session.scalars(select(UserSession)).one()
        setattr(session, column, getattr(session, column) - by)
        db.session.commit()


def test_s50_the_table_opens_no_session(rig: Rig, ada: Maker) -> None:
    """S-50: what is stored is a hash, of which even who can sign makes no cookie that is taken."""
    with rig.app.app_context():
        stored = db.session.scalar(select(UserSession.token_hash)) or ""
    signer = SecureCookieSessionInterface().get_signing_serializer(rig.app)
    assert signer
    mine = opened(ada.browser.cookies["katana_session"])
    thief = rig.jar()

    for token, status in ((mine["_user_id"], SIGNED_IN), (stored, SENT_TO_SIGN_IN)):
        thief.keep({"katana_session": str(signer.dumps(mine | {"_user_id": token}))})

        assert sees_dashboard(thief) == status


@pytest.mark.one_database
@pytest.mark.parametrize(
    "planted",
    ["", "x", "e30.AAAAAA.AAAA", "." * 50, "%00%0d%0a", "a" * 4000, "eyJfdXNlcl9pZCI6IjEifQ.a.b"],
)
def test_s50_a_made_up_cookie_is_nobodys(rig: Rig, ada: Maker, planted: str) -> None:
    """S-50: it opens nothing and breaks nothing, also where a page needs no session."""
    jar = rig.jar()
    jar.keep({"katana_session": planted})

    assert sees_dashboard(jar) == SENT_TO_SIGN_IN
    assert jar.send("GET", "/").status == 200
    assert jar.send("GET", callback(code="c", state="x" * 43)).status == 401


def test_s51_signing_in_is_a_new_session_for_whoever_planted_the_old(rig: Rig) -> None:
    """S-51: Eve's cookie in Ada's browser stays Eve's: it is not signed in with Ada.

    Not one from before signing in, nor one of a session of hers that she has ended.
    """
    fresh, eve = rig.jar(), rig.maker("eve")
    fresh.send("GET", "/sign-in")
    eve.sign_up()
    ended = rig.copy_of(eve.browser)
    eve.sign_out()

    for name, planted in (("ada", fresh), ("bob", ended)):
        victim = rig.maker(name)
        victim.browser.keep(planted.cookies)

        victim.sign_up()

        assert victim.browser.cookies != planted.cookies
        assert sees_dashboard(victim.browser) == SIGNED_IN
        assert sees_dashboard(planted) == SENT_TO_SIGN_IN


def test_s55_what_has_run_out_is_cleared_away(rig: Rig, ada: Maker) -> None:
    """S-55: sessions that nobody can use any more go when the next one begins."""
    change_session(rig, "expires_at", timedelta(days=30))

    rig.maker("bob").sign_up()

    assert sessions(rig) == 1


def test_s51_signing_in_again_ends_the_session_before(rig: Rig, ada: Maker) -> None:
    """S-51: of one browser there is one session, and the form of the one before is dead."""
    before, form = rig.copy_of(ada.browser), ada.dashboard().form("/katana/connect").fields
    page = Page(200, f'<form action="/sign-in" method="post">{csrf(form)}</form>')

    answer = ada.submit(page, "/sign-in", email=ada.email, password=ada.password)

    assert (answer.status, answer.location) == (303, "/dashboard")
    assert sessions(rig) == 1
    assert sees_dashboard(before) == SENT_TO_SIGN_IN
    assert ada.browser.send("POST", "/katana/connect", form).status == 400
    assert attempts(rig.app) == 0


def csrf(form: dict[str, str]) -> str:
    """The token of this form, as a field."""
    return f'<input type="hidden" name="csrf_token" value="{form["csrf_token"]}">'


@pytest.mark.one_database
@pytest.mark.parametrize("name", ["session", "katana_session", "_user_id", "session_id"])
def test_s52_no_session_is_taken_from_an_address(rig: Rig, ada: Maker, name: str) -> None:
    """S-52: neither a page nor the callback knows anybody by what stands in its URL."""
    value = ada.browser.cookies["katana_session"]
    stranger = rig.jar()

    for path in (f"/dashboard?{name}={value}", f"/katana/callback?code=c&state=s&{name}={value}"):
        page = stranger.send("GET", path)

        assert page.status in {303, 401}
        assert page.location in {"/sign-in", None}


@pytest.mark.one_database
def test_s53_s56_every_cookie_is_kept_from_scripts_and_never_remembered(
    rig: Rig, ada: Maker
) -> None:
    """S-53, S-56: on every route; what opens a session is gone when the browser is."""
    paths = [rule.rule for rule in rig.app.url_map.iter_rules() if "<" not in rule.rule]
    jars = [rig.jar(), rig.copy_of(ada.browser)]

    pages = [jar.send(how, path) for jar in jars for path in paths for how in ("GET", "POST")]
    pages += [ada.connect(), ada.submit(ada.dashboard(), "/sign-out")]
    filled = {"email": ada.email, "password": ada.password}
    pages.append(ada.submit(ada.get("/sign-in"), "/sign-in", **filled))

    cookies = [c for page in pages for c in set_cookies(page)]
    assert {cookie.split("=")[0] for cookie in cookies} >= {"katana_session"}
    for cookie in cookies:
        value, *attributes = cookie.split("; ")
        lasting = [each for each in attributes if each.startswith(("Expires=", "Max-Age="))]
        assert {"HttpOnly", "Path=/", "SameSite=Lax"} == {*attributes} - {*lasting}, cookie
        assert not lasting or value == "katana_session=" or value.startswith("katana_known="), (
            cookie
        )


def set_cookies(page: Page) -> list[str]:
    """The cookies of one answer."""
    return [c for c in re.split(r", (?=\w+=)", page.headers.get("Set-Cookie", "")) if c]


@pytest.mark.one_database
@pytest.mark.parametrize("order", [1, -1])
def test_s53_of_two_session_cookies_neither_is_believed(rig: Rig, ada: Maker, order: int) -> None:
    """S-53: a neighbour who plants a cookie gets nobody's Katana connected to their own account."""
    eve = rig.maker("eve")
    eve.sign_up()
    form = eve.dashboard().form("/katana/connect").fields
    both = [f"katana_session={maker.browser.cookies['katana_session']}" for maker in (ada, eve)][
        ::order
    ]

    for method, path, sent in (
        ("POST", "/katana/connect", form),
        ("GET", "/dashboard", None),
        ("GET", callback(code="c", state="s"), None),
    ):
        page = rig.jar().send(method, path, sent, {"Cookie": "; ".join(both)})

        assert page.status == 400
        assert "signed in twice" in page.text
    assert attempts(rig.app) == 0


def test_s54_a_cookie_copied_before_signing_out_is_dead(rig: Rig, ada: Maker) -> None:
    """S-54: signing out ends the session on the server, in all workers, for every copy."""
    copies = [rig.copy_of(ada.browser) for _ in range(8)]
    assert {sees_dashboard(copy) for copy in copies} == {SIGNED_IN}

    page = ada.submit(ada.dashboard(), "/sign-out")

    assert (page.status, page.location) == (303, "/")
    assert {sees_dashboard(copy) for copy in copies} == {SENT_TO_SIGN_IN}
    assert sees_dashboard(ada.browser) == SENT_TO_SIGN_IN
    assert sessions(rig) == 0


@pytest.mark.one_database
def test_s54_nobody_is_signed_out_by_a_link_or_a_forged_form(rig: Rig, ada: Maker) -> None:
    """S-54: a picture on another site does not end Ada's session."""
    assert ada.browser.send("GET", "/sign-out").status == 405
    assert ada.browser.send("POST", "/sign-out").status == 400
    forged = {"Sec-Fetch-Site": "cross-site"}
    assert ada.browser.send("POST", "/sign-out", headers=forged).status == 403

    assert sees_dashboard(ada.browser) == SIGNED_IN


def test_s54_signing_out_in_one_browser_leaves_the_other(rig: Rig, ada: Maker) -> None:
    """S-54, S-57: sessions end one by one; the rows are there for a fork that lists them."""
    elsewhere = rig.maker("ada")
    elsewhere.sign_in()
    assert sessions(rig) == 2

    elsewhere.sign_out()

    assert sees_dashboard(ada.browser) == SIGNED_IN
    assert sessions(rig) == 1


@pytest.mark.parametrize(
    ("column", "age"),
    [("last_seen_at", timedelta(hours=24, seconds=1)), ("expires_at", timedelta(days=14))],
)
def test_s55_a_session_ends_by_itself(rig: Rig, ada: Maker, column: str, age: timedelta) -> None:
    """S-55: after a day without a visit, and after two weeks in any case."""
    copy = rig.copy_of(ada.browser)

    change_session(rig, column, age)

    assert sees_dashboard(ada.browser) == SENT_TO_SIGN_IN
    assert sees_dashboard(copy) == SENT_TO_SIGN_IN


def test_s55_a_visit_puts_off_the_one_end_and_not_the_other(rig: Rig, ada: Maker) -> None:
    """S-55: a visit within the day counts from now on; the two weeks stay two weeks."""
    change_session(rig, "last_seen_at", timedelta(hours=23))
    change_session(rig, "expires_at", timedelta(days=13, hours=23))
    ends = _read(rig, lambda: db.session.scalar(select(UserSession.expires_at)))

    assert sees_dashboard(ada.browser) == SIGNED_IN

    fresh = UserSession.last_seen_at > SystemClock().database_time(-60)
    assert _read(rig, lambda: db.session.scalar(select(UserSession.id).where(fresh)))
    assert _read(rig, lambda: db.session.scalar(select(UserSession.expires_at))) == ends


def test_s55_what_a_dead_session_began_is_dead(rig: Rig, ada: Maker) -> None:
    """S-55, S-03: an attempt does not outlive its session, however young it is."""
    answer = rig.sandbox.approve(ada.begin())
    with rig.app.app_context():
        over = SystemClock().database_time(-1)
        db.session.execute(update(UserSession).values(expires_at=over))
        db.session.commit()

    assert ada.return_with(answer).status == 401
    ada.sign_in()
    assert ada.return_with(answer).status == 400
    assert attempts(rig.app) == 0
    assert not rig.sandbox.ledger().of("exchange")


@pytest.fixture
def during_and_after(rig: Rig) -> Iterator[tuple[Flask, Flask]]:
    """The app with a new secret key: while the old one is named beside it, and once it is gone."""
    old, new = rig.environ["SECRET_KEY"], "new-secret-key-0123456789abcdefghijklmnop"
    during = create_app(rig.environ | {"SECRET_KEY": new, "SECRET_KEY_FALLBACKS": old})
    after = create_app(rig.environ | {"SECRET_KEY": new})
    yield during, after
    for app in (during, after):
        with app.app_context():
            db.engine.dispose()


@pytest.mark.one_database
def test_s58_a_new_secret_key_keeps_sessions_for_as_long_as_the_old_one_is_named(
    rig: Rig, ada: Maker, during_and_after: tuple[Flask, Flask]
) -> None:
    """S-58: the old key still opens and signs nothing; once it is gone, so is what it signed."""
    during, after = during_and_after
    cookie = ada.browser.cookies["katana_session"]
    form = ada.dashboard().form("/katana/connect").fields

    def status(app: object, value: str) -> int:
        client = app.test_client()  # type: ignore[attr-defined]
        client.set_cookie("katana_session", value, domain="localhost")
        return int(client.get("/dashboard").status_code)

    client = during.test_client()
    page = client.get("/sign-in")
    signed_anew = page.headers["Set-Cookie"].split(";")[0].removeprefix("katana_session=")
    (form_anew,) = re.findall(r'name="csrf_token" value="([^"]+)"', page.text)
    client.set_cookie("katana_session", cookie, domain="localhost")
    opened_before = client.post("/katana/connect", data=form)

    assert status(during, cookie) == SIGNED_IN
    assert status(after, cookie) == SENT_TO_SIGN_IN
    assert status(rig.app, signed_anew) == SENT_TO_SIGN_IN
    assert _payload(after, signed_anew)
    assert not _payload(rig.app, signed_anew)
    assert _is_form(after, form_anew)
    assert not _is_form(rig.app, form_anew)
    assert not _is_form(after, form["csrf_token"])
    assert opened_before.location.startswith(f"{rig.sandbox.url}/authorize?")


@pytest.mark.accounts
@pytest.mark.one_database
def test_s58_a_new_secret_key_keeps_browsers_known_for_as_long_as_the_old_one_is_named(
    rig: Rig, ada: Maker, during_and_after: tuple[Flask, Flask]
) -> None:
    """S-58, S-62: while strangers guess, Ada's browser gets in; then the new key knows it too."""
    during, after = during_and_after

    def sign_in(app: Flask, known: str = "", password: str = ada.password) -> tuple[int, str]:
        client = app.test_client()
        client.set_cookie("katana_known", known, domain="localhost")
        maker = Maker(ClientBrowser(client), rig.sandbox)
        typed = {"email": ada.email, "password": password}
        status = maker.submit(maker.get("/sign-in"), "/sign-in", **typed).status
        return status, client.get_cookie("katana_known", domain="localhost").value

    guessed = [sign_in(during, password=f"a guess, number {n}")[0] for n in range(11)]
    old = ada.browser.cookies["katana_known"]
    refused, (signed_in, new) = sign_in(after, old), sign_in(during, old)

    assert guessed == [422] * 10 + [429]
    assert (refused[0], signed_in) == (429, 303)
    assert sign_in(after, new)[0] == 303


@pytest.mark.one_database
def test_s59_a_session_does_not_hang_on_headers_that_anybody_can_send(rig: Rig, ada: Maker) -> None:
    """S-59: another network or an updated browser signs nobody out."""
    moved = {"User-Agent": "Another/1.0", "X-Forwarded-For": "203.0.113.7"}

    assert ada.browser.send("GET", "/dashboard", headers=moved).status == SIGNED_IN
    assert sees_dashboard(ada.browser) == SIGNED_IN


def _read(rig: Rig, look: Callable[[], object]) -> object:
    with rig.app.app_context():
        return look()


def _is_form(app: Flask, token: str) -> bool:
    """Whether the app takes the signature under a form's token."""
    try:
        URLSafeTimedSerializer(app.config["WTF_CSRF_SECRET_KEY"], salt=FORM_SALT).loads(token)
    except BadSignature:
        return False
    return True


def _payload(app: object, cookie: str) -> object:
    """What the cookie holds for an app that takes its signature; nothing for any other."""
    with app.test_request_context(headers={"Cookie": f"katana_session={cookie}"}) as context:  # type: ignore[attr-defined]
        return dict(context.session)
