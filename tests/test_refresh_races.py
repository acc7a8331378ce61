"""Many ask at once, in threads and processes, over real HTTP: one refresh is sent (R-1)."""

import pytest
from flask import Flask

from tests.connected import Connected, refresh
from tests.refreshers import ask_all_at_once
from tests.sandbox import Sandbox

PROCESSES, THREADS = 4, 8


@pytest.fixture
def connected(app: Flask, sandbox: Sandbox, environ: dict[str, str]) -> Connected:
    """A connected user, in real time."""
    sandbox.rules(latency_seconds=0.1)
    return Connected(app, sandbox, environ)


def test_at_expiry_one_refresh_serves_everybody(
    connected: Connected, environ: dict[str, str]
) -> None:
    """32 callers in 4 processes: one request reaches Katana, all get its token."""
    for round_ in range(1, 4):
        connected.expire()

        said = ask_all_at_once(environ, connected.id, processes=PROCESSES, threads=THREADS)

        assert len(said) == PROCESSES * THREADS
        assert len({one["token"] for one in said}) == 1
        assert connected.refreshes() == round_
        assert connected.family().state == "live"
        assert connected.holds_the_living_token()


def test_a_storm_of_refusals_costs_one_refresh(
    connected: Connected, environ: dict[str, str]
) -> None:
    """32 callers whose unexpired token the API has refused: one request, one new token for all."""
    refused = refresh(connected.parts()).fresh_access_token(connected.id)

    said = ask_all_at_once(
        environ, connected.id, processes=PROCESSES, threads=THREADS, refused=refused
    )

    assert len({one["token"] for one in said}) == 1
    assert {"token": refused} not in said
    assert connected.refreshes() == 1
    assert connected.family().state == "live"
