"""The journey in Firefox and in WebKit; test_browser.py has it in Chromium, with more."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import cannot_run
from tests.support.commands import worker
from tests.support.engines import Window, find, running
from tests.support.journeys import ALDER, EMAIL, PASSWORD
from tests.support.sandbox import Sandbox
from tests.support.servers import Served

pytestmark = [
    pytest.mark.engines,
    pytest.mark.slow,
    pytest.mark.one_database,
    pytest.mark.accounts,
    pytest.mark.dashboard,
    # What drives the browsers warns of its own parts.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(params=["firefox", "webkit"])
def window(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Window]:
    """A window of that engine."""
    missing = find(request.param)
    if missing:
        cannot_run(f"{missing} is not installed")
    with running(request.param, tmp_path) as window:
        yield window


def test_the_journey(
    window: Window, served: Served, sandbox: Sandbox, environ: dict[str, str]
) -> None:
    """Sign up, connect, see data, a renewal unseen, an order that appears by itself, disconnect."""
    window.go(f"{served.url}/sign-up")
    window.fill("email", EMAIL)
    window.fill("password", PASSWORD)
    window.press("Create the account")
    window.shows("Connect your Katana account")

    window.press("Connect to Katana")
    window.press("Approve")
    window.shows(f"Connected to {ALDER}")

    with worker(environ):
        sandbox.expire()
        window.go(f"{served.url}/orders")
        window.shows("64 orders")
        sandbox.happen("new_order")
        window.shows("65 orders")  # by the script, without a reload
        for path in ("/dashboard", "/stock", "/account"):
            window.go(f"{served.url}{path}")
            assert window.width_to_scroll() == 0

    window.go(f"{served.url}/dashboard")
    window.press("Disconnect")
    window.shows("Connect your Katana account")
    assert [family.state for family in sandbox.ledger().families] == ["dead"]

    window.press("Sign out")
    window.shows("Sign in")
    window.go(f"{served.url}/dashboard")
    window.shows("E-mail address")
