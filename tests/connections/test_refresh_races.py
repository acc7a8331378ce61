"""Many ask at once, in threads and processes, over real HTTP: one refresh is sent (R-1).

On SQLite too, where no row can be locked (R-20).
"""

from collections.abc import Iterator

import pytest

from tests.support.connected import Connected, MakeConnected, refresh
from tests.support.refreshers import Crowd, crowd
from tests.support.sandbox import Sandbox

PROCESSES, THREADS = 4, 8
ROUNDS, ALL_ROUNDS = 3, 200


@pytest.fixture
def connected(sandbox: Sandbox, new_connected: MakeConnected) -> Connected:
    """A connected user, in real time."""
    sandbox.rules(latency_seconds=0.1)
    return new_connected()


@pytest.fixture
def callers(connected: Connected, environ: dict[str, str]) -> Iterator[Crowd]:
    """32 callers in 4 processes."""
    with crowd(environ, connected.id, processes=PROCESSES, threads=THREADS) as callers:
        yield callers


@pytest.mark.both_databases
def test_at_expiry_one_refresh_serves_everybody(connected: Connected, callers: Crowd) -> None:
    """One request reaches Katana, all get its token, the family lives."""
    race_at_expiry(connected, callers, ROUNDS)


@pytest.mark.slow
def test_two_hundred_times_one_refresh_serves_everybody(
    connected: Connected, callers: Crowd
) -> None:
    """The same, often enough to meet what is rare."""
    race_at_expiry(connected, callers, ALL_ROUNDS)


@pytest.mark.slow
def test_a_storm_of_refusals_costs_one_refresh(connected: Connected, callers: Crowd) -> None:
    """The API has refused a token that all have: one request, one new token for all."""
    race_after_refusal(connected, callers, ROUNDS)


@pytest.mark.slow
def test_two_hundred_storms_of_refusals_cost_one_refresh_each(
    connected: Connected, callers: Crowd
) -> None:
    """The same, often enough to meet what is rare."""
    race_after_refusal(connected, callers, ALL_ROUNDS)


def race_at_expiry(connected: Connected, callers: Crowd, rounds: int) -> None:
    for round_ in range(1, rounds + 1):
        connected.expire()

        tokens = [said["token"] for said in callers.ask_at_once()]

        assert len(tokens) == PROCESSES * THREADS
        assert len(set(tokens)) == 1
        assert_one_refresh_each(connected, round_)


def race_after_refusal(connected: Connected, callers: Crowd, rounds: int) -> None:
    for round_ in range(1, rounds + 1):
        refused = refresh(connected.parts()).fresh_access_token(connected.id)
        connected.change(next_attempt_at=None)  # the distance that such refreshes keep

        tokens = [said["token"] for said in callers.ask_at_once(refused)]

        assert len(tokens) == PROCESSES * THREADS
        assert len({*tokens, refused}) == 2
        assert_one_refresh_each(connected, round_)


def assert_one_refresh_each(connected: Connected, rounds: int) -> None:
    assert connected.refreshes() == rounds
    assert connected.family().state == "live"
    assert connected.holds_the_living_token()
