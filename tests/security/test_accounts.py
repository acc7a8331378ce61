"""Signing up and in, attacked from outside: S-08 and S-60 to S-65, each test named by its item.

S-62, how often one may try, is in `test_throttle.py`; what a hash costs, of S-61, in
`tests/accounts/test_accounts.py`. Items that do not apply, and what a fork that makes them apply
must keep:

S-60  changing a password: there is no such page. A fork that adds one asks for the old password.
S-63  that an address has an account can be learned at sign-up, in 20 tries of 5 minutes: only a
      mail could tell the owner alone, and this app sends none. What is kept is that signing in does
      not tell, and that neither takes longer for the one than for the other.
S-64  there is no reset and no verification of an address, so no such token; and no second factor,
      which ASVS asks for at level 2 (6.3.3). A fork that adds resets makes their tokens like
      attempts: 256 random bits, stored as a hash, good for an hour, deleted by their one use.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Thread

import psutil
import pytest
from flask import Flask
from sqlalchemy import func, select, update

from app.accounts import passwords, sessions
from app.accounts.models import User, UserSession
from app.database.db import db
from tests.support.actors import Maker
from tests.support.pages import Page
from tests.support.rig import Rig

GOOD = "walnut drawers slide well"
TOO_LONG = 64 * 1024

#: What stands where an address should.
NO_ADDRESSES = (
    "ada\x00@workshop.example",
    "ada@workshop.example\x00",
    "ada@workshop.example\r\nBcc: eve@evil.example",
    "ada@workshop.example\nSet-Cookie: x=y",
    "ada@workshop.example,eve@evil.example",
    '"ada" <ada@workshop.example>',
    "' OR 1=1 --@workshop.example",
    "ada@workshop.example' OR '1'='1",
    "ada@@workshop.example",
    "\ud7ff" * 300 + "@workshop.example",
    "a" * 60_000 + "@workshop.example",
    "{{7*7}}",
    "%s%n@x",
)


@pytest.fixture
def ada(rig: Rig) -> Maker:
    """A maker who has an account, and is signed out."""
    ada = rig.maker("ada")
    ada.sign_up()
    ada.sign_out()
    return ada


def sign(maker: Maker, path: str, email: str, password: str) -> Page:
    """The answer to the form at this path, filled in like this."""
    return maker.submit(maker.get(path), path, email=email, password=password)


def sign_in(maker: Maker, password: str, email: str | None = None) -> Page:
    """The answer to the sign-in form."""
    return sign(maker, "/sign-in", maker.email if email is None else email, password)


def users(rig: Rig) -> int:
    """How many accounts there are."""
    with rig.app.app_context():
        return db.session.scalar(select(func.count()).select_from(User)) or 0


def processor_seconds(rig: Rig) -> float:
    """How long the workers have been computing until now."""
    workers = psutil.Process(rig.served.process.pid).children()
    return sum(sum(worker.cpu_times()[:2]) for worker in workers)


@pytest.mark.one_database
@pytest.mark.parametrize("path", ["/sign-in", "/sign-up"])
def test_s08_nobody_is_signed_in_by_another_sites_form(rig: Rig, ada: Maker, path: str) -> None:
    """S-08: without a token of this very browser the right password signs nobody in.

    Else Eve signs Ada in to Eve's account, where Ada then connects her Katana.
    """
    eve = rig.maker("eve")
    theirs = eve.get(path).form(path).fields
    filled = {"email": "new@workshop.example" if path == "/sign-up" else ada.email}
    filled["password"] = ada.password
    victim = rig.maker("ada")
    victim.get(path)

    for token in ({}, {"csrf_token": ""}, {"csrf_token": "x"}, theirs):
        page = victim.browser.send("POST", path, filled | token)

        assert page.status == 400
        assert "load the page again" in page.text
    assert victim.browser.send("GET", "/dashboard").location == "/sign-in"
    assert users(rig) == 1


@pytest.mark.one_database
def test_s08_the_token_from_before_signing_in_is_worth_nothing_after(rig: Rig, ada: Maker) -> None:
    """S-08, S-51: signing in begins a new session, its forms have a new token."""
    before = ada.get("/sign-in").form("/sign-in").fields
    ada.sign_in()

    assert ada.browser.send("POST", "/katana/connect", before).status == 400


@pytest.mark.short_form(3)
@pytest.mark.one_database
@pytest.mark.parametrize(
    "password",
    [
        "qwertyuiop",
        "1234567890",
        "q1w2e3r4t5",
        "Password1234",
        "P@ssword1!",
        "iloveyouforever",
        "abcdefghijk",
        "manufacturing1",
        "Summer2026!",
        "asdfghjklzxcvbnm",
        "trustno1trustno1",
        "1122334455667788",
        "o" * 200,
        "workshopexample",
        "katanakatana1",
        "adalovelace1815",
    ],
)
def test_s60_an_easily_guessed_password_is_refused(rig: Rig, password: str) -> None:
    """S-60: common ones, rows of keys, words with a year, and what is built on the account."""
    page = sign(rig.maker("ada"), "/sign-up", "adalovelace@workshop.example", password)

    assert page.status == 422
    assert 'id="password-error"' in page.text
    assert users(rig) == 0


@pytest.mark.short_form(3)
@pytest.mark.one_database
@pytest.mark.parametrize(
    "password",
    [
        "пароль из слов",
        "kõik tööd ja õhtu\u0301d",
        "🪚🪵 saw and wood 🔨",
        "  spaces at both ends  ",
        "nul\x00in the middle of it",
        "x y zoo " * 25,
        "4@8({[<369!1|70$5+%2" * 10,
        "tallow wick & <b>beeswax</b> 'or' 1=1",
    ],
)
def test_s60_a_good_password_is_taken_as_it_is(rig: Rig, password: str) -> None:
    """S-60: nothing of it is cut off or trimmed. NFC and NFD of a letter are the same letter."""
    ada = rig.maker("ada")
    ada.password = password
    other = {
        password[:-1],
        password[:72],
        password + " ",
        password.strip(),
        password.swapcase(),
        password.replace("\x00", ""),
    } - {password}

    assert ada.sign_up().status == 200
    ada.sign_out()
    for wrong in other:
        assert sign_in(ada, wrong).status == 422, wrong
    assert sign_in(ada, password).status == 303


@pytest.mark.one_database
def test_s60_a_password_may_be_pasted_and_is_known_to_browsers(rig: Rig) -> None:
    """S-60: no limit in the form that would cut it, nothing against pasting or managers."""
    for path, word in (("/sign-in", "current-password"), ("/sign-up", "new-password")):
        page = rig.jar().send("GET", path)

        assert f'type="password" autocomplete="{word}"' in page.text
        assert "maxlength" not in page.text
        assert "onpaste" not in page.text


@pytest.mark.one_database
@pytest.mark.parametrize("path", ["/sign-in", "/sign-up"])
def test_s60_what_is_endless_is_refused_before_it_is_hashed(
    rig: Rig, ada: Maker, path: str
) -> None:
    """S-60, S-61: a form holds so much at most, whichever of its fields is the long one."""
    for long in ({"email": "a" * TOO_LONG}, {"password": "p" * TOO_LONG}):
        filled = {"email": ada.email, "password": GOOD, **long}
        page = ada.submit(ada.get(path), path, **filled)

        assert page.status == 413
        assert "That is too much" in page.text


def test_s61_no_more_than_four_passwords_are_hashed_at_once() -> None:
    """S-61: a rush of sign-ins queues, so that it takes a bounded part of memory and processors."""
    with ExitStack() as four:
        for _ in range(4):
            four.enter_context(passwords._at_once)
        fifth = Thread(target=passwords.hashed, args=(GOOD,))
        fifth.start()
        for _ in range(3):  # as much work as three hashes, in which it would have been done
            passwords._argon2id(b"s" * 16).derive_phc_encoded(GOOD.encode())

        assert fifth.is_alive()
    fifth.join()


@pytest.mark.one_database
def test_s63_a_wrong_password_and_an_unknown_address_look_the_same(rig: Rig, ada: Maker) -> None:
    """S-63: the same status, headers and page, letter by letter."""
    known, unknown = rig.maker("bob"), rig.maker("bob")

    pages = [
        sign_in(known, GOOD, ada.email),
        sign_in(unknown, GOOD, "xyz@workshop.example"),
    ]

    texts = [re.sub(r'csrf_token" value="[^"]*"', "", page.text) for page in pages]
    assert [page.status for page in pages] == [422, 422]
    assert texts[0] == texts[1].replace("xyz@", "ada@")
    assert pages[0].headers.keys() == pages[1].headers.keys()


@pytest.mark.short_form(1)
@pytest.mark.one_database
@pytest.mark.parametrize("path", ["/sign-in", "/sign-up"])
def test_s63_both_cost_the_same_time(rig: Rig, ada: Maker, path: str) -> None:
    """S-63: an address with an account and one without take the workers one hash each.

    What is compared is the time that the workers compute, which a busy machine does not change.
    """
    spent = {"known": 0.0, "unknown": 0.0}

    for n in range(6):
        for who in spent:
            maker = rig.maker("bob")
            page = maker.get(path)
            email = ada.email if who == "known" else f"xyz{n}@workshop.example"
            before = processor_seconds(rig)
            maker.submit(page, path, email=email, password=f"{GOOD} {n}")
            spent[who] += processor_seconds(rig) - before
        rig.allow_more_tries()

    assert spent["known"] < 2 * spent["unknown"]
    assert spent["unknown"] < 2 * spent["known"]


def test_s63_signing_up_with_a_taken_address_changes_nothing(rig: Rig, ada: Maker) -> None:
    """S-63: it is refused in words that leave the reason open, and the account stays as it is."""
    eve = rig.maker("eve")

    page = sign(eve, "/sign-up", f"  {ada.email.upper()} ", GOOD)

    assert page.status == 422
    assert "No account can be made with this address." in page.text
    assert sign_in(eve, GOOD, ada.email).status == 422
    assert sign_in(ada, ada.password).status == 303


@pytest.mark.both_databases
def test_s63_of_many_sign_ups_at_once_one_is_the_account(rig: Rig) -> None:
    """S-63: the same address in the same moment over two workers is one user, signed in once."""
    makers = [rig.maker("ada") for _ in range(8)]
    pages = [maker.get("/sign-up") for maker in makers]

    def submit(n: int) -> int:
        own = f"{GOOD} number {n}"
        return makers[n].submit(pages[n], "/sign-up", email="a@b.example", password=own).status

    with ThreadPoolExecutor(len(makers)) as pool:
        statuses = sorted(pool.map(submit, range(len(makers))))

    assert statuses == [303] + [422] * 7
    assert users(rig) == 1
    with rig.app.app_context():
        assert db.session.scalar(select(func.count()).select_from(UserSession)) == 1


def test_s63_pressing_twice_signs_in_either_way(rig: Rig) -> None:
    """S-63: the same form, sent several times at once or soon after, is one account, signed in.

    Of the same kind: a connection that drops before the response, a reload of the response, another
    spelling of the address or the password, and the form again from a second tab. A wrong password
    is refused, and so is the right one once the account is older than a minute: how long the
    refusal takes tells nothing of older accounts.
    """
    maker = rig.maker("ada")
    page = maker.get("/sign-up")
    tabs = [Maker(rig.copy_of(maker.browser), rig.sandbox) for _ in range(4)]

    def press(maker: Maker, email: str = "ada@workshop.example", password: str = GOOD) -> Page:
        return maker.submit(page, "/sign-up", email=email, password=password)

    with ThreadPoolExecutor(len(tabs)) as pool:
        pages = list(pool.map(press, tabs))

    assert [(page.status, page.location) for page in pages] == [(303, "/dashboard")] * 4
    assert all(tab.dashboard().status == 200 for tab in tabs)
    assert press(maker, " Ada@Workshop.example").status == 303
    assert users(rig) == 1

    page = (eve := rig.maker("eve")).get("/sign-up")
    assert press(eve, password=f"{GOOD} not").status == 422
    with rig.app.app_context():
        db.session.execute(update(User).values(created_at=sessions.now(-61)))
        db.session.commit()
    refused = press(eve)
    assert refused.status == 422
    assert "No account can be made with this address." in refused.text


@pytest.mark.parametrize("path", ["/sign-in", "/sign-up"])
def test_s63_what_is_no_address_is_a_plain_no(rig: Rig, ada: Maker, path: str) -> None:
    """S-63, S-79: NUL, line ends, quotes, endless and lone letters: no failure, no account."""
    for hostile in NO_ADDRESSES:
        page = sign(rig.maker("eve"), path, hostile, GOOD)
        rig.allow_more_tries()

        assert page.status == 422, hostile
        assert "Bcc" not in str(page.headers)
    assert users(rig) == 1


@pytest.mark.short_form(2)
@pytest.mark.one_database
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('{"email": "ada@workshop.example"}', "application/json"),
        ("email=ada%40workshop.example", "text/plain"),
        ("--x", "multipart/form-data; boundary=x"),
        ("a=b", "multipart/form-data"),
        ("email=a&email=b&password=c&password=d", "application/x-www-form-urlencoded"),
        ("%ff%fe%00" * 500, "application/x-www-form-urlencoded"),
        ("&".join(f"f{n}=1" for n in range(3000)), "application/x-www-form-urlencoded"),
    ],
)
def test_s63_what_is_no_form_is_a_plain_no(rig: Rig, body: str, kind: str) -> None:
    """S-63: whatever else is sent there is refused as a form that is not ours."""
    for path in ("/sign-in", "/sign-up"):
        page = rig.jar().send("POST", path, body, {"Content-Type": kind})

        assert page.status in {400, 413}


@pytest.mark.one_database
def test_s65_a_new_database_knows_nobody(app: Flask) -> None:
    """S-65: no account comes with this app."""
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(User)) == 0
