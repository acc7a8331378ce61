"""Attempts to connect: each works once, in the browser session that began it, for ten minutes."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from flask import Flask
from sqlalchemy import select

from app.accounts.models import User, UserSession
from app.connections.attempts import (
    EXCHANGE_SECONDS,
    KEPT_SECONDS,
    LIFE_SECONDS,
    MAX_PER_SESSION,
    Attempt,
    Attempts,
    hash_of,
)
from app.connections.models import ConnectAttempt
from app.connections.vault import Vault
from app.credentials import TokenKey
from app.database.clock import Clock, SystemClock
from app.database.db import db
from app.errors import (
    AttemptElsewhere,
    AttemptExpired,
    AttemptRefused,
    AttemptUsed,
    ExchangeUnderWay,
    SealBroken,
)
from tests.support.clocks import HeldClock

THREADS = 20
KEY = TokenKey("k1", bytes(range(32)))


class Browser:
    """A signed-in browser session, and what it can do with attempts."""

    def __init__(self, app: Flask, clock: Clock, name: str) -> None:
        self.app = app
        self.attempts = Attempts(Vault([KEY]), clock)
        with app.app_context():
            self.id = _sign_in(name)

    def begin(self) -> Attempt:
        """Press the button."""
        with self.app.app_context():
            return self.attempts.begin(self.id)

    def consume(self, state: str) -> str:
        """Come back with a state."""
        with self.app.app_context():
            return self.attempts.consume(state, self.id)

    def finish(self, state: str) -> None:
        """The code is exchanged, or cannot be."""
        with self.app.app_context():
            self.attempts.finish(state)

    def wait(self, state: str, seconds: float) -> None:
        """Come back with a state that an earlier callback has used."""
        with self.app.app_context():
            self.attempts.wait_for_exchange(state, self.id, seconds)

    def rows(self) -> list[ConnectAttempt]:
        """This browser's attempts, as they are stored."""
        mine = select(ConnectAttempt).where(ConnectAttempt.user_session_id == self.id)
        with self.app.app_context():
            return list(db.session.scalars(mine.order_by(ConnectAttempt.created_at)))


def _sign_in(name: str) -> int:
    now = datetime.now(UTC)
    user = db.session.scalar(select(User).where(User.email == f"{name}@workshop.test"))
    user = user or User(email=f"{name}@workshop.test", password_hash="", created_at=now)
    db.session.add(user)
    db.session.flush()
    session = UserSession(
        token_hash=hash_of(f"{name} {now.timestamp()}"),
        user_id=user.id,
        created_at=now,
        last_seen_at=now,
        expires_at=now + timedelta(days=1),
    )
    db.session.add(session)
    db.session.commit()
    return session.id


MakeBrowser = Callable[..., Browser]


@pytest.fixture
def clock() -> HeldClock:
    """Time stands still unless it is moved."""
    return HeldClock()


@pytest.fixture
def new_browser(app: Flask, clock: HeldClock) -> MakeBrowser:
    """Makes browser sessions."""
    return lambda name="ada", clock=clock: Browser(app, clock, name)


@pytest.fixture
def browser(new_browser: MakeBrowser) -> Browser:
    """One browser session."""
    return new_browser()


@pytest.mark.both_databases
def test_an_attempt_works_once(browser: Browser) -> None:
    """S-04: its verifier comes out the first time; the second time it is not there."""
    attempt = browser.begin()

    assert browser.consume(attempt.state) == attempt.code_verifier

    with pytest.raises(ExchangeUnderWay):
        browser.consume(attempt.state)
    browser.finish(attempt.state)
    assert browser.rows() == []
    with pytest.raises(AttemptUsed):
        browser.consume(attempt.state)


def test_a_refusal_says_why(new_browser: MakeBrowser, clock: HeldClock) -> None:
    """Too late, used, from elsewhere, or under way: each is told for what it is.

    Of the same kind: a worker that died in the exchange, a link that is days old, and a finish that
    comes for an attempt which nobody has used yet.
    """
    browser, other = new_browser("ada"), new_browser("ben")
    late, died, elsewhere = browser.begin(), browser.begin(), other.begin()
    browser.finish(late.state)
    browser.consume(died.state)

    with pytest.raises(AttemptElsewhere):
        browser.consume(elsewhere.state)
    with pytest.raises(AttemptElsewhere):
        other.consume(died.state)
    with pytest.raises(ExchangeUnderWay):
        browser.consume(died.state)

    clock.move(EXCHANGE_SECONDS)
    with pytest.raises(AttemptUsed):
        browser.consume(died.state)

    clock.move(LIFE_SECONDS)
    browser.begin()
    with pytest.raises(AttemptExpired):
        browser.consume(late.state)


@pytest.mark.both_databases
def test_a_repeat_waits_while_the_code_is_exchanged(browser: Browser, clock: HeldClock) -> None:
    """Not longer than asked, nor than an exchange can take, and not at all once it has ended."""
    attempt = browser.begin()
    browser.consume(attempt.state)

    with pytest.raises(ExchangeUnderWay):
        browser.wait(attempt.state, 10)
    assert sum(clock.slept) == pytest.approx(10, abs=1)
    browser.wait(attempt.state, 2 * EXCHANGE_SECONDS)
    assert sum(clock.slept) == pytest.approx(EXCHANGE_SECONDS, abs=1)

    clock.slept.clear()
    browser.finish(attempt.state)
    browser.wait(attempt.state, 10)
    assert not clock.slept


@pytest.mark.both_databases
def test_of_many_callbacks_at_once_one_goes_on(new_browser: MakeBrowser) -> None:
    """S-04: twenty threads with one state, on the database's own clock: one gets the verifier."""
    browser = new_browser(clock=SystemClock())
    attempt = browser.begin()
    start = Barrier(THREADS)

    def come_back() -> str | None:
        start.wait()
        try:
            return browser.consume(attempt.state)
        except AttemptRefused:
            return None

    with ThreadPoolExecutor(THREADS) as pool:
        came = [future.result() for future in [pool.submit(come_back) for _ in range(THREADS)]]

    assert [verifier for verifier in came if verifier] == [attempt.code_verifier]


@pytest.mark.parametrize("name", ["ada", "ben"])
def test_another_browser_session_is_refused_and_uses_nothing_up(
    new_browser: MakeBrowser, name: str
) -> None:
    """S-02, S-03: neither the same user elsewhere nor another; the rightful one still can."""
    browser, other = new_browser("ada"), new_browser(name)
    attempt = browser.begin()

    with pytest.raises(AttemptRefused):
        other.consume(attempt.state)

    assert browser.consume(attempt.state) == attempt.code_verifier


@pytest.mark.parametrize("state", ["", "unknown", "' OR 1=1 --", "ключ", "x" * 10_000])
def test_an_unknown_state_is_refused(browser: Browser, state: str) -> None:
    """S-22: what nobody began is refused, whatever it looks like."""
    browser.begin()

    with pytest.raises(AttemptRefused):
        browser.consume(state)

    assert len(browser.rows()) == 1


def test_an_attempt_lasts_ten_minutes(browser: Browser, clock: HeldClock) -> None:
    """S-05: just before their end it works, from then on it does not."""
    in_time, late = browser.begin(), browser.begin()

    clock.move(LIFE_SECONDS - 1)
    assert browser.consume(in_time.state) == in_time.code_verifier

    clock.move(1)
    with pytest.raises(AttemptRefused):
        browser.consume(late.state)


@pytest.mark.short_form(1)
@pytest.mark.both_databases
@pytest.mark.parametrize("back", [3 * 3600, 24 * 3600, 400 * 24 * 3600])
def test_an_attempt_of_a_wrong_clock_is_over(browser: Browser, clock: HeldClock, back: int) -> None:
    """13: a clock that ran ahead is set right; no attempt and no exchange lasts for days."""
    unused, used = browser.begin(), browser.begin()
    browser.consume(used.state)

    clock.move(-back)

    with pytest.raises(AttemptExpired):
        browser.consume(unused.state)
    with pytest.raises(AttemptUsed):
        browser.consume(used.state)
    again = browser.begin()
    assert browser.consume(again.state) == again.code_verifier


def test_a_small_correction_of_the_clock_ends_no_attempt(
    browser: Browser, clock: HeldClock
) -> None:
    """13: a user who is at Katana's page comes back to a working link."""
    attempt = browser.begin()
    clock.move(-30)

    assert browser.consume(attempt.state) == attempt.code_verifier


@pytest.mark.both_databases
def test_attempts_that_are_over_are_swept_away(new_browser: MakeBrowser, clock: HeldClock) -> None:
    """A day later, the next to begin clears away what has expired, their own or not."""
    gone, browser = new_browser("ada"), new_browser("ben")
    gone.begin()
    clock.move(LIFE_SECONDS + KEPT_SECONDS + 1)

    browser.begin()

    assert gone.rows() == []
    assert len(browser.rows()) == 1


def test_several_attempts_live_side_by_side(browser: Browser, clock: HeldClock) -> None:
    """S-06: tabs can be finished in any order."""
    begun = [browser.begin() for _ in range(5)]

    for attempt in reversed(begun):
        assert browser.consume(attempt.state) == attempt.code_verifier


def test_the_oldest_gives_way(new_browser: MakeBrowser, clock: HeldClock) -> None:
    """S-06: a browser session has so many attempts at most; nobody else's are touched."""
    browser, other = new_browser("ada"), new_browser("ben")
    untouched = other.begin()
    begun = []
    for _ in range(MAX_PER_SESSION + 1):
        clock.move(1)
        begun.append(browser.begin())

    assert len(browser.rows()) == MAX_PER_SESSION
    with pytest.raises(AttemptRefused):
        browser.consume(begun[0].state)
    for attempt in begun[1:]:
        assert browser.consume(attempt.state) == attempt.code_verifier
    assert other.consume(untouched.state) == untouched.code_verifier


@pytest.mark.one_database
def test_states_cannot_be_guessed(browser: Browser) -> None:
    """S-01, S-09: a hundred states, all different, 256 bits each, with nothing in common."""
    attempts = [browser.begin() for _ in range(100)]

    states = [attempt.state for attempt in attempts]
    assert len(set(states)) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", state) for state in states)
    assert len({state[:6] for state in states}) == 100
    assert len({attempt.code_verifier for attempt in attempts}) == 100


def test_the_table_gives_nothing_away(browser: Browser) -> None:
    """S-04, S-10: what is stored is the state's hash and the verifier sealed."""
    attempt = browser.begin()

    (row,) = browser.rows()

    assert row.state_hash == hash_of(attempt.state)
    assert attempt.state.encode() not in row.sealed_verifier
    assert attempt.code_verifier.encode() not in row.sealed_verifier
    assert attempt.state not in repr(attempt)
    assert attempt.code_verifier not in repr(attempt)


def test_a_verifier_pasted_from_another_attempt_does_not_open(
    new_browser: MakeBrowser,
) -> None:
    """S-41: who can write to the table still cannot finish somebody else's attempt."""
    browser, other = new_browser("ada"), new_browser("ben")
    attempt, theirs = browser.begin(), other.begin()
    (row,) = browser.rows()
    with browser.app.app_context():
        pasted = db.session.get(ConnectAttempt, hash_of(theirs.state))
        assert pasted
        pasted.sealed_verifier = row.sealed_verifier
        db.session.commit()

    with pytest.raises(SealBroken):
        other.consume(theirs.state)
    assert browser.consume(attempt.state) == attempt.code_verifier


def test_signing_out_ends_the_attempts(browser: Browser) -> None:
    """S-03: with the browser session goes what it began: nobody can finish it."""
    attempt = browser.begin()
    with browser.app.app_context():
        db.session.delete(db.session.get_one(UserSession, browser.id))
        db.session.commit()

    assert browser.rows() == []
    with pytest.raises(AttemptRefused):
        browser.consume(attempt.state)
