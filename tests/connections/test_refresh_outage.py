"""Katana's login is away for ten minutes while many connections are due (R-10, I-5, I-6)."""

from collections import Counter

import pytest
from flask import Flask

from app.connections.models import Status
from app.errors import TryAgainLater
from tests.support.clocks import HeldClock
from tests.support.connected import Connected, refresh
from tests.support.sandbox import Sandbox

OUTAGE_SECONDS, EVERY_SECONDS = 600, 20
SENDS_IN_TEN_MINUTES = 10  # of one connection: 2, 4, 8 ... seconds of pause, up to 300
LONGEST_PAUSE_SECONDS = 450  # jitter included


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.mark.one_database
def test_an_outage_is_borne_by_everybody(
    app: Flask, sandbox: Sandbox, environ: dict[str, str], clock: HeldClock
) -> None:
    """A few connections, whose users look every 20 seconds."""
    bear_an_outage(app, sandbox, environ, clock, connections=8)


@pytest.mark.slow
def test_an_outage_is_borne_by_a_thousand(
    app: Flask, sandbox: Sandbox, environ: dict[str, str], clock: HeldClock
) -> None:
    """The same with a thousand, on both databases."""
    bear_an_outage(app, sandbox, environ, clock, connections=1000)


def bear_an_outage(
    app: Flask, sandbox: Sandbox, environ: dict[str, str], clock: HeldClock, connections: int
) -> None:
    everybody = [Connected(app, sandbox, environ, f"maker{n}", clock) for n in range(connections)]
    parts = everybody[0].parts()
    sandbox.fault("refresh", "status", status=503, times=0)
    clock.move(61)

    sent: Counter[int] = Counter()
    for minute in range(OUTAGE_SECONDS // EVERY_SECONDS):
        before = sandbox.ledger().totals["refresh"]
        for one in everybody:
            with pytest.raises(TryAgainLater):
                refresh(parts).fresh_access_token(one.id)
        sent[minute * EVERY_SECONDS // 60] += sandbox.ledger().totals["refresh"] - before

    assert sum(sent.values()) <= SENDS_IN_TEN_MINUTES * connections
    assert sent[9] <= sent[0] / 2, "the pauses do not grow"
    assert {one.row().status for one in everybody} == {Status.ACTIVE}

    sandbox.clear_faults()
    clock.move(LONGEST_PAUSE_SECONDS)
    for one in everybody:
        refresh(parts).fresh_access_token(one.id)
    assert all(family.state == "live" for family in sandbox.ledger().families)
