"""Hooks for a fork: what a receiver is told, when, and that it cannot harm a connection."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import select

from app.accounts.models import User
from app.connections import current, history
from app.connections.history import Event, signal
from app.connections.models import Connection, EventKind
from app.database.db import db
from app.errors import ReconnectNeeded, TryAgainLater
from app.katana.oauth import Grant, KatanaLogin
from app.pages import katana_api
from app.settings.config import ROOT
from tests.support.clocks import HeldClock
from tests.support.commands import run
from tests.support.connected import Connected, MakeConnected, refresh
from tests.support.sandbox import Sandbox

LIFE_SECONDS = 61


@pytest.fixture
def clock() -> HeldClock:
    """Time stands still unless somebody waits."""
    return HeldClock()


@pytest.fixture
def ada(new_connected: MakeConnected) -> Connected:
    """A connected user."""
    return new_connected()


@pytest.fixture
def heard() -> Iterator[list[Event]]:
    """Everything that a fork is told."""
    told: list[Event] = []
    with ExitStack() as stack:
        for kind in EventKind:
            stack.enter_context(signal(kind).connected_to(told.append))
        yield told


class SlowLogin(KatanaLogin):
    """The real login; it takes its time."""

    wait: Callable[[], None]

    def refresh(self, refresh_token: str, *how: Any) -> Grant:
        self.wait()
        return super().refresh(refresh_token, *how)


def renew(ada: Connected, clock: HeldClock) -> None:
    """Let a token's life be over, and ask for a fresh one."""
    clock.move(LIFE_SECONDS)
    refresh(ada.parts()).fresh_access_token(ada.id)


def test_each_kind_of_event_has_a_signal_by_its_name() -> None:
    """What the documentation names is what is sent."""
    for kind in EventKind:
        assert getattr(history, kind) is signal(kind)


def test_receivers_are_told_what_happened(
    ada: Connected, clock: HeldClock, sandbox: Sandbox, heard: list[Event]
) -> None:
    """Kind, user, connection, detail; how long it took, where something was waited for."""
    renew(ada, clock)
    sandbox.fault("refresh", "status", status=429, retry_after="30")
    with pytest.raises(TryAgainLater):
        renew(ada, clock)
    sandbox.kill()
    with pytest.raises(ReconnectNeeded):
        renew(ada, clock)
    ada.connect()
    ada.disconnect()

    assert [(event.kind, event.detail) for event in heard] == [
        (EventKind.REFRESHED, None),
        (EventKind.REFRESH_FAILED, "login_busy"),
        (EventKind.REFRESH_FAILED, "grant_refused"),
        (EventKind.RECONNECT_NEEDED, "grant_ended"),
        (EventKind.CONNECTED, None),
        (EventKind.DISCONNECTED, "revoked"),
    ]
    assert {(event.user_id, event.connection_id) for event in heard} == {(ada.user_id, ada.id)}
    *waited, last = (event.duration_seconds for event in heard)
    assert all(seconds is not None and seconds >= 0 for seconds in waited)
    assert last is None
    assert not any(event.took_over for event in heard)


def test_receivers_are_told_how_long_a_refresh_took(
    ada: Connected, clock: HeldClock, heard: list[Event]
) -> None:
    """From the claim until the outcome was stored, by the clock that no one can set."""
    slow = SlowLogin(ada.settings.katana)
    slow.wait = partial(clock.move, 2.5)
    clock.move(LIFE_SECONDS)
    refresh(replace(ada.parts(), login=slow)).fresh_access_token(ada.id)

    assert [event.duration_seconds for event in heard] == [2.5]


def test_receivers_are_told_that_a_lost_answer_did_no_harm(
    ada: Connected, clock: HeldClock, sandbox: Sandbox, heard: list[Event]
) -> None:
    """R-25: a doubt that ended well is told apart from a refresh like any other."""
    sandbox.rules(rotation_overlap_seconds=30)
    sandbox.fault("refresh", "lose_answer")

    renew(ada, clock)

    assert [(event.kind, event.detail) for event in heard] == [
        (EventKind.REFRESH_FAILED, "answer_lost"),
        (EventKind.REFRESHED, "recovered"),
    ]


def test_receivers_are_told_that_a_lease_was_taken_over(
    ada: Connected, clock: HeldClock, heard: list[Event]
) -> None:
    """R-25: a refresh that died at work shows in the one that follows."""
    ada.change(lease_owner="somebody", lease_until=1.0, sent_at=0.0)

    renew(ada, clock)
    renew(ada, clock)

    assert [event.took_over for event in heard] == [True, False]


def test_what_a_receiver_breaks_is_its_own(ada: Connected, heard: list[Event]) -> None:
    """It has a database session for itself, so that nothing of it gets into the use case's."""
    used = []

    def careless(event: Event) -> None:
        used.append(db.session())
        db.session.add(User(email="half", password_hash="", created_at=None))
        db.session.flush()

    with ada.app.app_context():
        ours = db.session()
        with signal(EventKind.DISCONNECTED).connected_to(careless):
            current().lifecycle.disconnect(ada.user_id)

        assert used[0] is not ours
        assert not db.session.new
        assert db.session.scalars(select(User.email)).all() == ["ada@workshop.example"]
    assert [event.kind for event in heard] == [EventKind.DISCONNECTED]


def test_a_receiver_has_an_app_context_wherever_it_happened(
    app: Flask, ada: Connected, new_connected: MakeConnected, caplog: pytest.LogCaptureFixture
) -> None:
    """Also in the threads of keep-alive, several at once, each with a session of its own."""
    everybody = [ada, new_connected("bea"), new_connected("cleo")]
    seen: list[UUID] = []

    def look(event: Event) -> None:
        seen.append(db.session.get_one(Connection, event.connection_id).id)

    with signal(EventKind.REFRESHED).connected_to(look):
        assert run(app, "connections", "keep-alive", "--idle-days", "0").status == 0

    assert set(seen) == {one.id for one in everybody}
    assert "raised" not in caplog.text


def blocks_of_the_readme() -> list[str]:
    """The Python in docs/make-it-yours.md."""
    return re.findall(r"(?s)```python\n(.*?)```", (ROOT / "docs" / "make-it-yours.md").read_text())


def block(word: str) -> str:
    """The one that has this word in it."""
    (found,) = [block for block in blocks_of_the_readme() if word in block]
    return found


def test_the_example_of_a_hook_works(ada: Connected, clock: HeldClock, sandbox: Sandbox) -> None:
    """docs/make-it-yours.md: the user whom a connection needs is handed to the queue."""
    fork: dict[str, Any] = {}
    exec(block("reconnect_needed"), fork)
    sandbox.kill()

    with ada.app.app_context(), pytest.raises(ReconnectNeeded):
        renew(ada, clock)

    to_mail: SimpleQueue[str] = fork["to_mail"]
    assert to_mail.get(timeout=0) == "ada@workshop.example"


def test_the_example_of_using_the_api_works(ada: Connected) -> None:
    """docs/make-it-yours.md: a fork gets at Katana's data with the connection of its user."""
    fork: dict[str, Any] = {"user_id": ada.user_id}

    with ada.app.app_context():
        exec(block("sales_orders"), fork)

    assert fork["orders"][0].number.startswith("SO-")


def test_the_example_of_using_the_api_works_for_a_stranger_to_katana(app: Flask) -> None:
    """docs/make-it-yours.md: it asks nothing for a user who has not connected."""
    fork: dict[str, Any] = {"user_id": 0}

    with app.app_context():
        exec(block("sales_orders"), fork)

    assert fork["orders"] == ()


def test_what_is_not_committed_is_not_lost_while_katana_is_asked(ada: Connected) -> None:
    """A request ends the transaction; where that would discard a change, it says so instead."""
    with ada.app.app_context():
        api = katana_api.for_user(ada.user_id)
        db.session.get_one(User, ada.user_id).email = "ada@elsewhere.example"

        with pytest.raises(RuntimeError, match="commit what you have written"):
            api.factory()

        db.session.commit()
        assert api.factory().name
        assert db.session.get_one(User, ada.user_id).email == "ada@elsewhere.example"


def test_every_example_is_run() -> None:
    """A new Python example in docs/make-it-yours.md gets its test here."""
    tested: list[Callable[..., None]] = [
        test_the_example_of_a_hook_works,
        test_the_example_of_using_the_api_works,
    ]

    assert len(blocks_of_the_readme()) == len(tested)
