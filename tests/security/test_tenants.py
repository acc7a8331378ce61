"""Whose connection it is, attacked from outside: S-44 to S-49, each test named by its item.

Items that do not apply in part, and what a fork must keep:

S-44  ids of others: no page and no form takes an id of ours, which a test holds to; Katana's id of
      an order is looked up in one's own copy (`tests/sync/copy/test_pages.py`). A fork that adds
      one looks rows up by it *and* `current_user.id`, and answers what is not there and what is
      somebody else's alike.
S-46  one Katana account at two users here is allowed: each has a grant of their own, and ending one
      leaves the other. Nobody is signed in by a Katana account.
S-47  whether another account was approved is known only afterwards: Katana names it nowhere before.
      So the page warns before, says so after, and offers to disconnect; the earlier grant is not
      revoked, which could end the new one with it, and is never used again.
S-48  a queue that revokes later: there is none. A token that Katana did not revoke is deleted here,
      and the user is told.
S-49  `tests/accounts/test_personal_data.py` tests the page that deletes an account: it disconnects
      first, so that Katana hears of it. Here: the rest goes with the row.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import delete, func, select

from app.accounts.models import User, UserSession
from app.connections.models import Connection, ConnectionEvent
from app.database.db import db
from tests.support.actors import Maker
from tests.support.rig import Rig
from tests.support.rows import attempts, connection

ALDER = "Alder &amp; Spoke Bicycles"
WICK = "tallow-and-wick"
NOT_CONNECTED = "Connect your Katana account"


@pytest.fixture
def ada(rig: Rig) -> Maker:
    """A maker whose Katana is connected."""
    ada = rig.maker("ada")
    ada.sign_up()
    ada.connect()
    return ada


@pytest.fixture
def bob(rig: Rig) -> Maker:
    """Another one, who has not connected."""
    bob = rig.maker("bob")
    bob.sign_up()
    return bob


def connections(rig: Rig) -> int:
    """How many connections are stored."""
    with rig.app.app_context():
        return db.session.scalar(select(func.count()).select_from(Connection)) or 0


@pytest.mark.one_database
def test_s44_no_page_takes_an_id_of_ours(rig: Rig) -> None:
    """S-44: the one id in an address is Katana's, of an order in the copy of one's own account.

    What Katana posts to bears a random key and a signature: `tests/sync/test_webhook_receiver.py`.
    """
    with_arguments = {rule.endpoint for rule in rig.app.url_map.iter_rules() if rule.arguments}

    assert with_arguments <= {"static", "copy.one_order", "webhooks.deliver"}


@pytest.mark.one_database
def test_s44_what_anybody_sends_anywhere_reaches_their_own_connection_only(
    rig: Rig, ada: Maker, bob: Maker
) -> None:
    """S-44: Bob and a stranger send Ada's every id to every page; Ada's row stays as it is."""
    before = connection(rig.app)
    with rig.app.app_context():
        row = db.session.scalars(select(Connection)).one()
        ids = {"id": str(row.id), "connection_id": str(row.id), "user_id": str(row.user_id)}

    stranger = rig.jar()
    paths = [rule.rule for rule in rig.app.url_map.iter_rules() if "<" not in rule.rule]
    for path in paths:
        for method in ("GET", "POST"):
            asked = f"{path}?{'&'.join(f'{name}={value}' for name, value in ids.items())}"
            bobs = ids | bob.dashboard().form("/sign-out").fields
            theirs = stranger.send(method, asked, ids if method == "POST" else None)
            his = bob.browser.send(method, asked, bobs if method == "POST" else None)
            if (method, path) == ("POST", "/sign-out"):
                bob.sign_in()

            assert theirs.status < 500
            assert his.status < 500
            for page in (theirs, his):
                assert ALDER not in page.text
                assert ada.email not in page.text

    assert connection(rig.app) == before
    assert ALDER in ada.dashboard().text
    assert not rig.sandbox.ledger().of("revoke")


@pytest.mark.dashboard
def test_s45_the_page_says_what_was_connected_to_whom_and_how_to_undo_it(
    rig: Rig, ada: Maker
) -> None:
    """S-45: it names the factory and the account here, so that a mix-up is seen, and ends it."""
    page = ada.connect()

    assert f"Connected to {ALDER}." in page.text
    assert f"<dt>Your account here</dt><dd>{ada.email}</dd>" in page.text
    assert page.form("/katana/disconnect")


def test_s46_one_katana_account_at_two_users_is_two_grants(
    rig: Rig, ada: Maker, bob: Maker
) -> None:
    """S-46: Bob connects Ada's Katana; each has their own, and Bob's end is not Ada's."""
    bob.connect()
    assert ALDER in bob.dashboard().text

    bob.disconnect()

    assert ALDER in ada.dashboard().text
    assert NOT_CONNECTED in bob.dashboard().text
    assert sorted(family.state for family in rig.sandbox.ledger().families) == ["dead", "live"]


def test_s46_of_many_callbacks_at_once_one_connection_comes(rig: Rig, bob: Maker) -> None:
    """S-46: two browsers of one user come back in the same moment; both are served, one row is."""
    elsewhere = rig.maker("bob")
    elsewhere.sign_in()
    answers = [(maker, rig.sandbox.approve(maker.begin())) for maker in (bob, elsewhere) * 3]

    with ThreadPoolExecutor(len(answers)) as pool:
        pages = list(pool.map(lambda pair: pair[0].return_with(pair[1]), answers))

    assert {page.status for page in pages} == {200}
    assert connections(rig) == 1
    assert ALDER in bob.dashboard().text


@pytest.mark.dashboard
def test_s47_another_account_is_warned_of_before_and_told_after(rig: Rig, ada: Maker) -> None:
    """S-47: nobody finds other numbers on their page without a word."""
    assert "instead of this one" in ada.dashboard().text

    page = ada.connect(factory=WICK)

    assert f"Connected to Tallow &amp; Wick. Before, this was {ALDER}." in page.text
    assert page.form("/katana/disconnect")
    assert connections(rig) == 1


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (None, "Katana confirmed that access is revoked."),
        ({"fault": "status", "status": 400}, "Katana did not confirm"),
        ({"fault": "status", "status": 503}, "Katana did not confirm"),
        ({"fault": "drop_before"}, "Katana did not confirm"),
        ({"fault": "lose_answer"}, "Katana did not confirm"),
        ({"fault": "redirect"}, "Katana did not confirm"),
    ],
)
def test_s48_disconnecting_deletes_whatever_katana_says(
    rig: Rig, ada: Maker, fault: dict[str, object] | None, sentence: str
) -> None:
    """S-48: no sealed token is left, and the page does not claim more than Katana confirmed."""
    if fault:
        rig.sandbox.fault("revoke", **fault)  # type: ignore[arg-type]

    page = ada.disconnect()

    assert sentence in page.text
    assert NOT_CONNECTED in page.text
    assert connections(rig) == 0


@pytest.mark.one_database
def test_s48_only_our_own_button_disconnects(rig: Rig, ada: Maker, bob: Maker) -> None:
    """S-48: no link, no forged form and nobody else's form."""
    theirs = bob.dashboard().form("/katana/connect").fields

    assert ada.browser.send("GET", "/katana/disconnect").status == 405
    for form in ({}, {"csrf_token": "x"}, theirs):
        assert ada.browser.send("POST", "/katana/disconnect", form).status == 400
    assert rig.jar().send("POST", "/katana/disconnect", theirs).status == 401

    assert ALDER in ada.dashboard().text


def test_s48_a_refresh_under_way_revives_nothing(rig: Rig, ada: Maker) -> None:
    """S-48: a grant that comes after the user disconnected is stored nowhere, and taken back."""
    page = ada.dashboard()
    rig.sandbox.expire()
    rig.sandbox.fault("refresh", "slow", seconds=20)
    rig.sandbox.fault("revoke", "status")  # of the grant before, else Katana would give no other

    with ThreadPoolExecutor(1) as tab:
        slow = tab.submit(rig.copy_of(ada.browser).send, "GET", "/dashboard")
        rig.sandbox.wait_until_asked("refresh")
        ada.submit(page, "/katana/disconnect")
        rig.sandbox.let_go()

        assert slow.result().status == 200
    assert connections(rig) == 0
    assert NOT_CONNECTED in ada.dashboard().text
    assert [request.status for request in rig.sandbox.ledger().of("refresh")] == [200]
    assert [family.state for family in rig.sandbox.ledger().families] == ["dead"]


def test_s49_with_an_account_goes_all_that_hangs_on_it(rig: Rig, ada: Maker, bob: Maker) -> None:
    """S-49: its sessions, attempts, connection and history, in all browsers; nobody else's."""
    bob.connect(factory=WICK)
    elsewhere = rig.maker("ada")
    elsewhere.sign_in()
    answer = rig.sandbox.approve(ada.begin())
    asked = len(rig.sandbox.ledger().requests)

    with rig.app.app_context():
        db.session.execute(delete(User).where(User.email == ada.email))
        db.session.commit()

    for maker in (ada, elsewhere):
        assert maker.browser.send("GET", "/dashboard").location == "/sign-in"
    assert ada.return_with(answer).status == 401
    assert len(rig.sandbox.ledger().requests) == asked
    assert attempts(rig.app) == 0
    with rig.app.app_context():
        for table in (Connection, ConnectionEvent, UserSession):
            assert db.session.scalar(select(func.count()).select_from(table)) == 1
    assert "Tallow &amp; Wick" in bob.dashboard().text


@pytest.mark.one_database
def test_s49_an_account_that_goes_during_the_exchange_gets_no_connection(
    rig: Rig, bob: Maker
) -> None:
    """S-49: what Katana gives for who is gone is kept nowhere, not even there, and is no bug."""
    answer = rig.sandbox.approve(bob.begin())
    rig.sandbox.fault("exchange", "slow", seconds=20)

    with ThreadPoolExecutor(1) as tab:
        slow = tab.submit(bob.browser.send, "GET", answer.url)
        rig.sandbox.wait_until_asked("exchange")
        with rig.app.app_context():
            db.session.execute(delete(User))
            db.session.commit()
        rig.sandbox.let_go()

        assert slow.result().status == 409
    assert "Katana is not connected" in slow.result().text
    assert connections(rig) == 0
    assert [family.state for family in rig.sandbox.ledger().families] == ["dead"]
    assert "Traceback" not in rig.log()
