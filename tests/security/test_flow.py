"""Beginning to connect, attacked from outside: S-01 to S-11, each test named by its item.

Everything here is over HTTP, against two workers; `tests/support/rig.py` tells how. What happens at
the callback, S-12 to S-24, is in `test_callback.py` and `test_callback_pages.py`.

Authlib's own keeping of states is not used. What it would get wrong is tested here and there: that
a verifier can be read in the cookie (A-2: S-10), that nothing expires (A-3: S-05), that an old
cookie works again (A-4: S-04), that tabs overwrite each other (A-5: S-06), that an error counts
without its state and the first of two values is taken (A-6: S-16, S-15). There is one client, so
that no name of one begins like another's (A-7). What is asked for, letter by letter, is in
`tests/connections/test_connect.py` (A-14, A-17).

Items that do not apply: none. Of S-06, the cap on attempts is judged by
`tests/connections/test_attempts.py`, which can hold the clock; so is S-05's last second.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select, update

from app.connections.models import ConnectAttempt
from app.database.clock import SystemClock
from app.database.db import db
from tests.support.actors import Maker
from tests.support.callbacks import query
from tests.support.cookies import opened
from tests.support.pages import Page
from tests.support.rig import FEWEST_CHARACTERS, Rig
from tests.support.rows import attempts, connection
from tests.support.sandbox import Callback

ALDER = "Alder &amp; Spoke Bicycles"
USED_UP = "This link from Katana no longer works"
AT_ONCE = 20
STARTS = 50


@pytest.fixture
def ada(rig: Rig) -> Maker:
    """A maker who is signed in."""
    ada = rig.maker("ada")
    ada.sign_up()
    return ada


def exchanges(rig: Rig) -> int:
    """How many codes the app has sent to Katana."""
    return len(rig.sandbox.ledger().of("exchange"))


def begin_often(maker: Maker, times: int) -> list[str]:
    """Press Connect to Katana so often; the addresses that this leads to."""
    page = maker.dashboard()
    answers = [maker.submit(page, "/katana/connect") for _ in range(times)]
    return [answer.location or "" for answer in answers]


def in_cookies(cookies: dict[str, str]) -> str:
    """All that somebody can read in cookies: as they are, and opened."""
    held = {name: opened(value) for name, value in cookies.items()}
    assert all(held.values()), "a cookie was not opened"
    return f"{cookies} {held}"


@pytest.mark.one_database
def test_s01_states_are_random_and_tell_nothing(rig: Rig, ada: Maker) -> None:
    """S-01: all are different, long enough, have nothing in common, and name nobody."""
    states = [query(url)["state"] for url in begin_often(ada, STARTS)]

    assert len(set(states)) == STARTS
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", state) for state in states)
    assert len({state[:6] for state in states}) == STARTS
    assert len({state[-6:] for state in states}) == STARTS


def test_s02_another_browser_cannot_finish_what_this_one_began(rig: Rig, ada: Maker) -> None:
    """S-02: neither the same user elsewhere nor a stranger can; Katana is not asked; Ada can."""
    elsewhere = rig.maker("ada")
    elsewhere.sign_in()
    answer = rig.sandbox.approve(ada.begin())

    there, stranger = elsewhere.return_with(answer), rig.jar().send("GET", answer.url)

    assert (there.status, stranger.status) == (400, 401)
    assert USED_UP in there.text
    assert "You began in another browser" in there.text
    assert there.form("/katana/connect")
    assert "You are not signed in" in stranger.text
    assert exchanges(rig) == 0
    assert ALDER in ada.return_with(answer).text


def test_s03_another_user_in_the_same_browser_cannot_finish_it(rig: Rig, ada: Maker) -> None:
    """S-03: what Ada began, Bob does not finish where Ada sat before; nor does Ada, later on."""
    answer = rig.sandbox.approve(ada.begin())
    ada.sign_out()
    bob = Maker(ada.browser, rig.sandbox, "bob")
    bob.sign_up()

    assert bob.return_with(answer).status == 400
    assert "Connect your Katana account" in bob.dashboard().text
    bob.sign_out()
    assert ada.return_with(answer).status == 401
    ada.sign_in()
    assert ada.return_with(answer).status == 400

    assert exchanges(rig) == 0
    assert connection(rig.app) is None


def test_s03_an_address_at_katana_that_was_mailed_connects_nobody(rig: Rig, ada: Maker) -> None:
    """S-03: Bob approves at the address that Ada was given; neither of them is connected."""
    bob = rig.maker("bob")
    bob.sign_up()

    page = bob.return_with(rig.sandbox.approve(ada.begin()))

    assert page.status == 400
    assert exchanges(rig) == 0
    assert connection(rig.app) is None


def test_s03_the_button_sends_nothing_that_names_a_user_or_an_attempt(rig: Rig, ada: Maker) -> None:
    """S-03: who connects is said by the session alone, so there is nothing to put in its place."""
    form = ada.dashboard().form("/katana/connect")

    assert form.action == "/katana/connect"
    assert form.fields.keys() == {"csrf_token"}


def test_s04_a_state_is_consumed_once_under_twenty_parallel_callbacks(rig: Rig, ada: Maker) -> None:
    """S-04: of twenty callbacks over two workers one asks Katana; the others are told kindly."""
    answer = rig.sandbox.approve(ada.begin())
    tabs = [rig.copy_of(ada.browser) for _ in range(AT_ONCE)]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        pages = list(pool.map(lambda tab: tab.send("GET", answer.url), tabs))

    assert exchanges(rig) == 1
    assert {page.status for page in pages} <= {303, 503}
    assert any(page.status == 303 for page in pages)
    assert all("Retry-After" in page.headers for page in pages if page.status == 503)
    assert ALDER in ada.dashboard().text


def test_s04_a_repeat_during_the_exchange_waits_for_the_result_of_the_first(
    rig: Rig, ada: Maker
) -> None:
    """S-04: reloading while Katana is slow leads to the dashboard as well, with one exchange.

    Of the same kind: a double click on Approve, a browser that restores its tabs, several repeats,
    a repeat by POST, and one in a copy of the session.
    """
    answer = rig.sandbox.approve(ada.begin())
    tabs = [rig.copy_of(ada.browser) for _ in range(3)]
    rig.sandbox.fault("exchange", "slow", seconds=8)

    with ThreadPoolExecutor(len(tabs)) as pool:
        first = pool.submit(tabs[0].send, "GET", answer.url)
        rig.sandbox.wait_until_asked("exchange")
        repeats = [pool.submit(tab.send, "GET", answer.url) for tab in tabs[1:]]
        dashboard = ada.browser.send("GET", "/dashboard")
        waited = [repeat.done() for repeat in repeats]
        rig.sandbox.let_go()
        came = [request.result() for request in (first, *repeats)]

    assert waited == [False, False]
    assert dashboard.status == 200
    assert [(page.status, page.location) for page in came] == [(303, "/dashboard")] * 3
    assert exchanges(rig) == 1
    assert ALDER in ada.dashboard().text


def test_s04_a_repeat_of_what_failed_says_that_it_was_used(rig: Rig, ada: Maker) -> None:
    """S-04: with a button that begins anew, which the browser may press from this page.

    Of the same kind: an approval that Katana refused, one that the user cancelled, and one whose
    connection was ended since.
    """
    for fault in ("invalid_grant", "lose_answer"):
        answer = rig.sandbox.approve(ada.begin())
        rig.sandbox.fault("exchange", fault)
        assert ada.browser.send("GET", answer.url).status in {400, 502, 503}

        page = ada.browser.send("GET", answer.url)

        assert page.status == 400
        assert "was used already" in page.text
        # With no address in the Referer, but with an Origin that the form can be judged by.
        assert page.headers["Referrer-Policy"] == "strict-origin"
        begun = ada.submit(page, "/katana/connect")
        assert begun.status == 303
        assert attempts(rig.app) == 1
        ada.return_with(rig.sandbox.approve(begun.location or "", decision="cancel"))
        assert attempts(rig.app) == 0


def test_s04_a_cookie_from_before_makes_no_state_good_again(rig: Rig, ada: Maker) -> None:
    """S-04: what is used up is used up in the database, whatever the browser puts back."""
    answer = rig.sandbox.approve(ada.begin())
    before = rig.copy_of(ada.browser)
    ada.return_with(answer)
    ada.disconnect()

    assert before.send("GET", answer.url).status == 400
    assert exchanges(rig) == 1
    assert connection(rig.app) is None


def test_s04_a_refused_code_uses_its_state_up(rig: Rig, ada: Maker) -> None:
    """S-04: one try for each state, so nobody tries code after code with one."""
    state = query(ada.begin())["state"]

    pages = [ada.get(f"/katana/callback?code=guess-{n}&state={state}") for n in range(3)]

    assert [page.status for page in pages] == [400, 400, 400]
    assert exchanges(rig) == 1


def test_s05_an_attempt_is_good_for_ten_minutes(rig: Rig, ada: Maker) -> None:
    """S-05: after that nothing is asked of Katana, and the page says how to begin again."""
    answer = rig.sandbox.approve(ada.begin())
    with rig.app.app_context():
        expires_at, created_at = db.session.execute(
            select(ConnectAttempt.expires_at, ConnectAttempt.created_at)
        ).one()
        db.session.execute(
            update(ConnectAttempt).values(expires_at=SystemClock().database_time(-1))
        )
        db.session.commit()

    page = ada.return_with(answer)

    assert (expires_at - created_at).total_seconds() == pytest.approx(600, abs=1)
    assert page.status == 400
    assert "too old" in page.text
    assert page.form("/katana/connect")
    assert exchanges(rig) == 0


def test_s06_forty_attempts_live_side_by_side_and_weigh_nothing(rig: Rig, ada: Maker) -> None:
    """S-06: the cookie stays under a KiB, and the first and the last can both be finished."""
    urls = begin_often(ada, 40)

    assert sum(len(f"{name}={value}; ") for name, value in ada.browser.cookies.items()) < 1024
    for url in (urls[0], urls[-1]):
        assert f"Connected to {ALDER}." in ada.return_with(rig.sandbox.approve(url)).text


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "cross-site", "Origin": "null"}])
def test_s07_only_our_own_button_begins_an_attempt(
    rig: Rig, ada: Maker, headers: dict[str, str]
) -> None:
    """S-07: no link, picture or form of another site begins one, nor another session's form."""
    stolen = rig.maker("eve")
    stolen.sign_up()
    theirs = stolen.dashboard().form("/katana/connect").fields

    looked = ada.browser.send("GET", "/katana/connect", headers=headers)
    forged = [
        ada.browser.send("POST", "/katana/connect", form, headers)
        for form in ({}, {"csrf_token": "x"}, theirs)
    ]

    assert looked.status == 405
    assert {page.status for page in forged} <= {400, 403}
    assert attempts(rig.app) == 0


@pytest.mark.one_database
def test_s09_every_attempt_has_its_own_pkce_challenge(rig: Rig, ada: Maker) -> None:
    """S-09: S256 always, new each time, also after a failure; the sandbox checks that it fits."""
    urls = begin_often(ada, 5)
    rig.sandbox.fault("exchange", "invalid_grant")
    ada.return_with(rig.sandbox.approve(urls[-1]))
    urls.append(ada.begin())

    asked = [query(url) for url in urls]
    assert {each["code_challenge_method"] for each in asked} == {"S256"}
    assert len({each["code_challenge"] for each in asked}) == 6
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", each["code_challenge"]) for each in asked)
    assert ALDER in ada.return_with(rig.sandbox.approve(urls[-1])).text


def test_s09_a_verifier_that_does_not_fit_is_a_plain_failure(rig: Rig, ada: Maker) -> None:
    """S-09: whoever changes the challenge on the way gets nothing, and the page says what to do."""
    url = ada.begin()
    challenge = query(url)["code_challenge"]
    answer = rig.sandbox.approve(url.replace(challenge, "A" * 43))

    page = ada.return_with(answer)

    assert page.status == 400
    assert "Katana did not accept the approval" in page.text
    assert connection(rig.app) is None


@pytest.mark.one_database
def test_s10_a_browser_holds_neither_state_nor_verifier(rig: Rig, ada: Maker) -> None:
    """S-10: opening every cookie on the way shows nothing of an attempt."""
    url = ada.begin()
    on_the_way = in_cookies(ada.browser.cookies)
    ada.return_with(rig.sandbox.approve(url))
    back = in_cookies(ada.browser.cookies)

    passed = {secret for secret in rig.sandbox.secrets if len(secret) >= FEWEST_CHARACTERS}
    secrets = {query(url)["state"], query(url)["code_challenge"], *passed}
    assert "_user_id" in on_the_way, "the cookies were not opened"
    assert len(secrets) >= 6
    for secret in secrets:
        assert secret not in on_the_way
        assert secret not in back


def test_s11_a_code_of_another_attempt_is_worth_nothing(rig: Rig, ada: Maker) -> None:
    """S-11: swapped codes fail at Katana, store nothing, and leave a living connection alone."""
    bob = rig.maker("bob")
    bob.sign_up()
    bob.connect(factory="tallow-and-wick")
    before = connection(rig.app)
    adas, bobs = rig.sandbox.approve(ada.begin()), rig.sandbox.approve(bob.begin())

    pages = [_with_code_of(ada, adas, bobs), _with_code_of(bob, bobs, adas)]

    assert [page.status for page in pages] == [400, 400]
    assert all("Katana did not accept the approval" in page.text for page in pages)
    assert attempts(rig.app) == 0
    assert connection(rig.app) == before
    assert "Connect your Katana account" in ada.dashboard().text


def _with_code_of(maker: Maker, own: Callback, other: Callback) -> Page:
    (code,) = parse_qs(urlsplit(other.url).query)["code"]
    return maker.get(f"/katana/callback?code={code}&state={query(own.url)['state']}")


def test_s03_signing_out_in_the_middle_of_it_all_breaks_nothing(rig: Rig, ada: Maker) -> None:
    """S-03, S-04: tabs come back, connect, disconnect and look while the session ends."""
    for _ in range(3):
        page = ada.dashboard()
        begun = [ada.submit(page, "/katana/connect").location or "" for _ in range(4)]
        answers = [rig.sandbox.approve(url).url for url in begun]
        form = page.form("/katana/connect").fields
        tabs = [
            *(("GET", url, None) for url in answers * 2),
            *(("POST", "/katana/connect", form) for _ in range(8)),
            *(("GET", "/dashboard", None) for _ in range(2)),
            ("POST", "/sign-out", form),
            ("POST", "/katana/disconnect", form),
        ]
        jars = [rig.copy_of(ada.browser) for _ in tabs]
        before = exchanges(rig)

        with ThreadPoolExecutor(len(tabs)) as pool:
            pages = list(
                pool.map(lambda pair: pair[0].send(*pair[1]), zip(jars, tabs, strict=True))
            )

        # 503: a worker has one place for callbacks, and what waits too long for one gives up, a
        # dashboard included.
        assert {page.status for page in pages} <= {200, 303, 400, 401, 503}
        titles = ("Katana is slow to answer", "Katana is still being asked")
        postponed = [page.text for page in pages if page.status == 503]
        assert [text for text in postponed if not any(title in text for title in titles)] == []
        assert exchanges(rig) - before <= len(answers)
        assert ada.browser.send("GET", "/dashboard").location == "/sign-in"
        assert attempts(rig.app) == 0
        ada.sign_in()
