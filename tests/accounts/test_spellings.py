"""One person in several spellings has one account, and one password.

The same kind: letters composed or decomposed, a domain in its own letters or in punycode, capital
or wide letters in it, another full stop, spaces around it; domains that email-validator refuses
(`.local`); in passwords composed, decomposed and unusual spaces. Wherever an address is given:
sign-up, sign-in, the limits on tries, commands, rows from before.
"""

import subprocess
import sys
import unicodedata
from datetime import UTC, datetime

import flask_migrate
import pytest
from alembic.script import ScriptDirectory
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, update

from app.accounts import passwords
from app.accounts.email_address import normal_email
from app.accounts.models import User
from app.database.db import db
from app.settings.config import ROOT
from tests.conftest import MakeMaker
from tests.support.actors import Maker
from tests.support.commands import run
from tests.support.pages import Page

FOLDER = str(ROOT / "migrations")
RESPELT = ScriptDirectory(FOLDER).get_revision("20261127_one_spelling")
BEFORE = str(RESPELT.down_revision)
GOOD = "walnut drawers slide well"
COMPOSED, DECOMPOSED = "jos\u00e9", "jose\u0301"
#: The one that is stored, and others.
ADDRESSES = [
    (f"{COMPOSED}@workshop.example", f"{DECOMPOSED}@workshop.example"),
    (f"{COMPOSED}@workshop.example", f" {DECOMPOSED.upper()}@WORKSHOP.example "),
    ("ada@b\u00fccher.example", "ada@xn--bcher-kva.example"),
    ("ada@b\u00fccher.example", "Ada@XN--BCHER-KVA.example"),
    ("ada@b\u00fccher.example", "ada@bu\u0308cher.example"),
    ("ada@b\u00fccher.example", "ada@B\u00dcCHER\u3002example"),
    ("ada@workshop.example", "ada@\uff37\uff4frkshop.example"),
    ("ada@stra\u00dfe.example", "ada@xn--strae-oqa.example"),
    ("\u0930\u093e\u092e@b\u00fccher.example", "\u0930\u093e\u092e@xn--bcher-kva.example"),
    ("ada@b\u00fccher.local", "ada@xn--bcher-kva.LOCAL"),
    (f"{COMPOSED}..b@b\u00fccher.example", f"{DECOMPOSED}..b@xn--bcher-kva.example"),
]
PASSWORDS = [
    ("walnut k\u00fcche steht hier", "walnut ku\u0308che steht hier"),
    ("walnut drawers slide well", "walnut\u00a0drawers slide\u3000well"),
    (
        "\ud55c\uad6d\uc5b4 \uac00\uad6c \uacf5\ubc29 \uc774\ub2e4",
        "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165 \uac00\uad6c \uacf5\ubc29 \uc774\ub2e4",
    ),
    ("5 \u00c5ngstr\u00f6m dicke Bretter", "5 \u212bngstro\u0308m dicke Bretter"),
]
in_any_order = pytest.mark.parametrize("turned", [False, True], ids=["", "turned"])


def send(maker: Maker, path: str, email: str, password: str = GOOD) -> Page:
    """The response to a form that is filled in like this."""
    return maker.submit(maker.get(path), path, email=email, password=password)


def users(app: Flask) -> int:
    """How many accounts there are."""
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(User)) or 0


@pytest.mark.short_form(3)
@in_any_order
@pytest.mark.parametrize(("one", "other"), ADDRESSES)
def test_one_address_in_two_spellings_is_one_account(
    app: Flask, new_maker: MakeMaker, one: str, other: str, turned: bool
) -> None:
    """Whichever is used first, the other signs in and makes no second account."""
    first, second = (other, one) if turned else (one, other)
    assert send(new_maker(), "/sign-up", first).status == 303

    assert send(new_maker(), "/sign-up", second).status == 303  # of the account that is there
    assert send(new_maker(), "/sign-in", second).status == 303
    assert users(app) == 1
    with app.app_context():
        assert db.session.scalar(select(User.email)) == one


@pytest.mark.one_database
def test_accounts_of_different_people_stay_apart(app: Flask, new_maker: MakeMaker) -> None:
    """Letters that only look alike, or differ by an accent, are not one spelling."""
    addresses = ("jose@workshop.example", f"{COMPOSED}@workshop.example")
    addresses += ("jos\u0435@workshop.example", "ada@bucher.example", "ada@b\u00fccher.example")
    for address in addresses:
        assert send(new_maker(), "/sign-up", address).status == 303

    assert users(app) == len(addresses)


@pytest.mark.one_database
def test_tries_in_all_spellings_are_counted_together(new_maker: MakeMaker) -> None:
    """Somebody who guesses gets no more tries by writing the address in other ways."""
    one, other = ADDRESSES[2]
    send(new_maker(), "/sign-up", one)
    guesser = new_maker()

    for n in range(10):
        assert send(guesser, "/sign-in", other if n % 2 else one, "wrong guess").status == 422

    assert send(guesser, "/sign-in", other, "wrong guess").status == 429


@pytest.mark.short_form(3)
@pytest.mark.one_database
@pytest.mark.parametrize(("one", "other"), ADDRESSES)
def test_a_command_finds_somebody_by_any_spelling(
    app: Flask, new_maker: MakeMaker, one: str, other: str
) -> None:
    """`flask connections show`, and each that takes an e-mail address."""
    send(new_maker(), "/sign-up", one)

    for spelling in (one, other):
        told = run(app, "connections", "show", spelling)
        assert "There is no such user" not in told.output


@given(st.emails() | st.text(max_size=40) | st.text("a@.\u00fc\u0308\u0130-\u3002xn", max_size=20))
def test_a_spelling_stays_as_it_is(typed: str) -> None:
    """The one spelling of it is its own one spelling."""
    once = normal_email(typed)

    assert normal_email(once) == once


def test_no_name_is_looked_up() -> None:
    """Signing in waits for no name server: the package that asks one is not even loaded."""
    code = (
        "import sys; from app.accounts.email_address import normal_email;"
        "normal_email('ada@workshop.example'); assert 'dns' not in sys.modules"
    )
    subprocess.run((sys.executable, "-c", code), cwd=ROOT, check=True)


@pytest.mark.short_form(3)
@pytest.mark.one_database
@in_any_order
@pytest.mark.parametrize(("one", "other"), PASSWORDS)
def test_a_password_is_taken_in_each_of_its_spellings(
    new_maker: MakeMaker, one: str, other: str, turned: bool
) -> None:
    """Set on one system, typed on another."""
    first, second = (other, one) if turned else (one, other)
    maker = new_maker()
    assert send(maker, "/sign-up", maker.email, first).status == 303

    for password in (first, second):
        assert send(new_maker(), "/sign-in", maker.email, password).status == 303
    assert send(new_maker(), "/sign-in", maker.email, f"{first}!").status == 422


@pytest.mark.short_form(3)
@pytest.mark.one_database
@pytest.mark.parametrize("turned", [False, True], ids=["stored composed", "stored otherwise"])
@pytest.mark.parametrize(("one", "other"), PASSWORDS)
def test_a_hash_from_before_stays_good_and_is_renewed(
    app: Flask, new_maker: MakeMaker, one: str, other: str, turned: bool
) -> None:
    """Made from the password as it was typed then; after signing in, from its one spelling."""
    typed = other if turned else one
    maker = new_maker()
    maker.sign_up()
    with app.app_context():
        stored = passwords._argon2id(b"s" * 16).derive_phc_encoded(typed.encode())
        db.session.execute(update(User).values(password_hash=stored))
        db.session.commit()

    assert send(new_maker(), "/sign-in", maker.email, f"{typed}!").status == 422
    assert send(new_maker(), "/sign-in", maker.email, typed).status == 303

    with app.app_context():
        renewed = db.session.scalar(select(User.password_hash)) or ""
    assert (renewed == stored) is (typed == one)
    assert passwords._verifies(one, renewed)
    assert send(new_maker(), "/sign-in", maker.email, one).status == 303


def test_a_password_set_decomposed_before_is_taken_composed() -> None:
    """As it comes from another keyboard today."""
    for composed in (PASSWORDS[0][0], PASSWORDS[2][0]):
        decomposed = unicodedata.normalize("NFD", composed)
        stored = passwords._argon2id(b"s" * 16).derive_phc_encoded(decomposed.encode())
        assert passwords.matches(composed, stored)
        assert passwords.respelled(composed, stored)


@pytest.mark.parametrize(
    ("one", "other", "sentence"),
    [
        ("k\u00fcchentis", "ku\u0308chentis", "at least 10"),
        ("\u00e4" * 195 + " chairs", "a\u0308" * 195 + " chairs", "at most 200"),
        ("iloveyou 1", "iloveyou\u00a01", "among the first"),
        (f"{COMPOSED}maria12", f"{DECOMPOSED}maria12", "Do not build it"),
    ],
)
def test_a_password_is_judged_in_its_one_spelling(one: str, other: str, sentence: str) -> None:
    """Its length, how easily it is guessed, and whether it is built on the address."""
    email = f"{COMPOSED}maria@workshop.example"

    assert sentence in (passwords.fault(one, email) or "")
    assert passwords.fault(other, email) == passwords.fault(one, email)


def add(*emails: str) -> None:
    """Accounts as the version before spelled them."""
    at = datetime(2026, 11, 27, tzinfo=UTC)
    rows = [{"email": email, "password_hash": "", "created_at": at} for email in emails]
    db.session.execute(insert(User), rows)
    db.session.commit()


def spelled() -> list[str]:
    """What is stored."""
    return list(db.session.scalars(select(User.email).order_by(User.id)))


def test_the_migration_spells_what_is_stored(app: Flask) -> None:
    """Rows from before, of each kind, are found under the one spelling afterwards."""
    before = sorted({other.strip().lower() for one, other in ADDRESSES})
    stored = {normal_email(email): email for email in before}
    with app.app_context():
        flask_migrate.downgrade(directory=FOLDER, revision=BEFORE)
        add(*stored.values())

        flask_migrate.upgrade(directory=FOLDER)

        assert spelled() == list(stored)


def test_the_migration_names_collisions_and_changes_nothing(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """Which of two accounts is meant is not guessed; once somebody has said so, it goes on."""
    rows = [f"{COMPOSED}@workshop.example", "ben@xn--bcher-kva.example"]
    rows += [f"{DECOMPOSED}@workshop.example", "eve@xn--bcher-kva.example"]
    rows += ["ben@b\u00fccher.example"]
    with app.app_context():
        flask_migrate.downgrade(directory=FOLDER, revision=BEFORE)
        add(*rows)
        ids = list(db.session.scalars(select(User.id).order_by(User.id)))
        db.session.commit()

        with pytest.raises(SystemExit):
            flask_migrate.upgrade(directory=FOLDER)

        assert f"By id: {ids[0]} and {ids[2]}; {ids[1]} and {ids[4]}" in caplog.text
        assert spelled() == rows
        for n in (2, 4):
            other = update(User).where(User.id == ids[n])
            db.session.execute(other.values(email=f"other{n}@workshop.example"))
        db.session.commit()

        flask_migrate.upgrade(directory=FOLDER)

        assert spelled()[1] == "ben@b\u00fccher.example"
        assert spelled()[3] == "eve@b\u00fccher.example"
