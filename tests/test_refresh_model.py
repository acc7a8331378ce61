"""Three callers of the real refresh code in every order that Hypothesis thinks of (I-1 to I-10).

Time is virtual, the database and the sandbox are real. Callers are started, let go on by one step,
left asleep, and killed; Katana loses answers, refuses, and is away; users disconnect and reconnect.
What must hold is asked of the row and of the sandbox's ledger after each step. A failing sequence
is printed as the calls that repeat it.
"""

from collections.abc import Iterator
from datetime import datetime

import pytest
from flask import Flask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.connections.leases import LONGEST_LEASE_SECONDS
from app.errors import ReconnectNeeded
from app.models import Connection, Status
from tests.clocks import HeldClock
from tests.connected import Connected, refresh
from tests.holders import Holder
from tests.sandbox import Sandbox, running_sandbox

LONG_SECONDS = 3 * 3600  # longer than every pause


class WorldClock(HeldClock):
    """The one virtual time, which the sandbox reads too."""

    def now(self) -> datetime:
        return self.moment


class Refreshing(RuleBasedStateMachine):
    """A connection, whoever asks for its token, and whatever happens to them."""

    app: Flask
    environ: dict[str, str]
    sandbox: Sandbox
    clock: WorldClock
    names = 0

    @initialize(overlap=st.sampled_from([0, 30]))
    def connect(self, overlap: int) -> None:
        type(self).names += 1
        self.sandbox.reset()
        self.sandbox.rules(rotation_overlap_seconds=overlap)
        self.overlap = overlap
        name = f"maker{self.names}"
        self.connected = Connected(self.app, self.sandbox, self.environ, name, self.clock)
        self.holders: list[Holder] = []
        self.generation = 0
        self.lost = False  # an answer was lost, or whoever had it: what no client can undo
        self.erred = False  # Katana has refused a token that was good

    @rule()
    @precondition(lambda self: sum(not h.done for h in self.holders) < 3)
    def ask(self) -> None:
        self.holders.append(Holder(self.connected))

    @rule(data=st.data(), steps=st.integers(1, 4))
    @precondition(lambda self: any(not h.done for h in self.holders))
    def go_on(self, data: st.DataObject, steps: int) -> None:
        holder = data.draw(st.sampled_from([h for h in self.holders if not h.done]))
        for _ in range(steps):
            if not holder.done:
                holder.step()

    @rule(data=st.data())
    @precondition(lambda self: any(not h.done for h in self.holders))
    def kill(self, data: st.DataObject) -> None:
        holder = data.draw(st.sampled_from([h for h in self.holders if not h.done]))
        self.lost = self.lost or holder.at in {"answered", "save"}
        holder.kill()

    @rule(seconds=st.sampled_from([1, 10, 50, 70, 400]))
    def let_time_pass(self, seconds: int) -> None:
        # Whoever sleeps past its lease with an answer in hand is as good as dead to the others.
        if seconds >= LONGEST_LEASE_SECONDS / 2:
            self.lost = self.lost or any(h.at in {"answered", "save", "send"} for h in self.holders)
        self.clock.move(seconds)

    @rule(fault=st.sampled_from(["lose_answer", "drop_before", "invalid_grant", "status"]))
    def let_katana_err(self, fault: str) -> None:
        self.sandbox.clear_faults()
        self.sandbox.fault("refresh", fault)
        self.lost = self.lost or fault == "lose_answer"
        self.erred = self.erred or fault == "invalid_grant"

    @rule()
    def expire(self) -> None:
        self.sandbox.expire()
        self.connected.change(expires_at=-1, renew_at=-1)

    @invariant()
    def generations_only_grow(self) -> None:
        """I-8."""
        row = self.row()
        assert row.generation >= self.generation
        self.generation = row.generation

    @invariant()
    def the_grant_lives_unless_something_was_lost(self) -> None:
        """I-1: no spent token reaches Katana but after a loss that we have caused."""
        if not self.lost:
            assert self.connected.family().state == "live"

    @invariant()
    def one_at_a_time(self) -> None:
        """I-4: while nobody oversleeps, one request is under way at most."""
        if not self.lost:
            assert sum(h.at in {"send", "answered", "save"} for h in self.holders) <= 1

    def teardown(self) -> None:
        if not hasattr(self, "connected"):
            return

        self.sandbox.clear_faults()
        for holder in self.holders:
            for _ in range(200):
                if not holder.done:
                    holder.step()
            assert holder.done, "a caller goes on for ever"
        self.in_the_end_it_works_or_says_so()

    def in_the_end_it_works_or_says_so(self) -> None:
        """I-2, I-3, I-6: without a human it comes back, unless an answer was lost for good."""
        self.clock.move(LONG_SECONDS)
        try:
            refresh(self.connected.parts()).fresh_access_token(self.connected.id)
        except ReconnectNeeded:
            # A refusal on top of a doubt is believed at once, though Katana may have erred.
            assert self.erred or (self.lost and self.connected.family().state == "dead")
            return
        assert self.connected.holds_the_living_token()
        assert self.connected.family().state == "live"
        assert self.row().status is Status.ACTIVE

    def row(self) -> Connection:
        return self.connected.row()


@pytest.fixture
def clock() -> WorldClock:
    return WorldClock()


@pytest.fixture
def sandbox(redirect_uri: str, clock: WorldClock) -> Iterator[Sandbox]:
    """Katana, in the same virtual time."""
    with running_sandbox(redirect_uri, clock) as sandbox:
        yield sandbox


def run(
    app: Flask, environ: dict[str, str], sandbox: Sandbox, clock: WorldClock, examples: int
) -> None:
    Refreshing.app, Refreshing.environ = app, environ
    Refreshing.sandbox, Refreshing.clock = sandbox, clock
    run_state_machine_as_test(
        Refreshing,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


@pytest.mark.one_database
def test_any_order_of_steps_and_faults_keeps_the_promise(
    app: Flask, environ: dict[str, str], sandbox: Sandbox, clock: WorldClock
) -> None:
    """Some dozens of stories."""
    run(app, environ, sandbox, clock, examples=25)


@pytest.mark.slow
def test_a_thousand_stories(
    app: Flask, environ: dict[str, str], sandbox: Sandbox, clock: WorldClock
) -> None:
    """The same, for longer and on both databases."""
    run(app, environ, sandbox, clock, examples=1000)
