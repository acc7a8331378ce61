"""A process dies or sleeps in mid-refresh (R-4, R-6, R-7); the sandbox's ledger is the oracle."""

import os
import signal
import time

import pytest

from app.connections.lease_statements import LONGEST_LEASE_SECONDS
from app.connections.models import Reason, Status
from app.errors import ReconnectNeeded
from tests.support.clocks import LaterClock
from tests.support.connected import Connected, MakeConnected, Parts, refresh
from tests.support.refresher import STEPS
from tests.support.refreshers import Refresher, refreshing

#: Where the token is spent and its answer is nowhere: without an overlap no client could save it.
LOST = {"after_send", "after_answer", "before_commit"}
#: After the claim, in place of the real 45 s: enough to come to each step in time.
SEND_BEFORE_SECONDS = 3.0


@pytest.fixture
def connected(new_connected: MakeConnected) -> Connected:
    """A connected user whose access token has run out."""
    connected = new_connected()
    connected.expire()
    return connected


def later(connected: Connected) -> Parts:
    """The parts of somebody who comes when the dead process's lease has run out."""
    connected.clock = LaterClock(LONGEST_LEASE_SECONDS + 1)
    return connected.parts()


@pytest.mark.short_form(2)
@pytest.mark.parametrize("overlap", [0, pytest.param(30, marks=pytest.mark.slow)])
@pytest.mark.parametrize("step", STEPS)
def test_a_process_killed_at_any_step_loses_nothing_that_could_be_saved(
    connected: Connected, environ: dict[str, str], step: str, overlap: int
) -> None:
    """SIGKILL at each step: the next caller goes on, or says why it cannot."""
    connected.sandbox.rules(rotation_overlap_seconds=overlap)
    if step == "after_send":
        connected.sandbox.fault("refresh", "lose_answer")
    with refreshing(environ, connected.id, step=step, signal="SIGKILL") as refresher:
        assert refresher.said() == {"ready": True}
        refresher.start()
        assert refresher.said() == {"struck": step}
        assert refresher.process.wait() == -signal.SIGKILL

    parts = later(connected)
    if step in LOST and overlap == 0:
        with pytest.raises(ReconnectNeeded):
            refresh(parts).fresh_access_token(connected.id)
        assert connected.row().reason is Reason.ANSWER_LOST
        return

    refresh(parts).fresh_access_token(connected.id)
    assert connected.holds_the_living_token()
    assert connected.family().state == "live"


@pytest.mark.short_form(1)
@pytest.mark.parametrize("step", ["after_claim", "before_send"])
def test_a_process_that_wakes_up_after_its_lease_does_not_send(
    connected: Connected, environ: dict[str, str], step: str
) -> None:
    """R-7: stopped past its lease while another refreshed, it sends nothing."""
    how = {"signal": "SIGSTOP", "send_before_seconds": SEND_BEFORE_SECONDS}
    with refreshing(environ, connected.id, step=step, **how) as sleeper:
        fall_asleep(sleeper, step)
        too_late = time.monotonic() + SEND_BEFORE_SECONDS
        token = refresh(later(connected)).fresh_access_token(connected.id)
        time.sleep(max(0, too_late - time.monotonic()))
        sleeper.process.send_signal(signal.SIGCONT)

        assert sleeper.said() == {"token": token}
    assert connected.refreshes() == 1
    assert connected.holds_the_living_token()


@pytest.mark.short_form(1)
@pytest.mark.parametrize("step", ["after_answer", "before_commit"])
def test_an_answer_in_a_sleeping_hand_is_not_thrown_away(
    connected: Connected, environ: dict[str, str], step: str
) -> None:
    """R-0.6: nobody came meanwhile, so its answer is the only living token: it is saved."""
    with refreshing(environ, connected.id, step=step, signal="SIGSTOP") as sleeper:
        fall_asleep(sleeper, step)
        connected.change(lease_until=-1)
        sleeper.process.send_signal(signal.SIGCONT)

        assert "token" in sleeper.said()
    assert connected.holds_the_living_token()
    assert connected.family().state == "live"


@pytest.mark.both_databases
def test_two_answers_to_one_token_end_with_the_newer_one(
    connected: Connected, environ: dict[str, str]
) -> None:
    """R-0.6, R-0.7: both get tokens; the later one's stay, and are renewed at once."""
    connected.sandbox.rules(rotation_overlap_seconds=30)
    with refreshing(environ, connected.id, step="before_commit", signal="SIGSTOP") as sleeper:
        fall_asleep(sleeper, "before_commit")
        refresh(later(connected)).fresh_access_token(connected.id)
        newer = connected.stored_fingerprint()
        sleeper.process.send_signal(signal.SIGCONT)
        assert "token" in sleeper.said()

    last = connected.sandbox.ledger().of("refresh")[-1]
    assert last.fingerprint == newer
    assert connected.holds_the_living_token()
    assert connected.family().state == "live"
    assert connected.refreshes() == 3


def test_a_verdict_is_put_to_the_test_when_the_lost_answer_turns_up(
    connected: Connected, environ: dict[str, str]
) -> None:
    """R-7: without an overlap the second send ended the grant; the row ends by saying so."""
    connected.sandbox.rules(access_token_seconds=600)
    with refreshing(environ, connected.id, step="before_commit", signal="SIGSTOP") as sleeper:
        fall_asleep(sleeper, "before_commit")
        with pytest.raises(ReconnectNeeded):
            refresh(later(connected)).fresh_access_token(connected.id)
        sleeper.process.send_signal(signal.SIGCONT)
        sleeper.said()

    assert connected.row().status is Status.ACTIVE
    refresh(later(connected)).fresh_access_token(connected.id)  # while it lives, nobody notices
    assert connected.row().status is Status.RECONNECT_NEEDED


def fall_asleep(refresher: Refresher, step: str) -> None:
    """Start it, and wait until it is stopped at `step`."""
    assert refresher.said() == {"ready": True}
    refresher.start()
    assert refresher.said() == {"struck": step}
    os.waitpid(refresher.process.pid, os.WUNTRACED)
