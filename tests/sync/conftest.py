"""A connected user whose Katana is read by hand."""

import pytest

from app.katana import client
from tests.support.connected import MakeConnected
from tests.support.sandbox import Sandbox
from tests.support.syncing import Syncing

SMALL_PAGE = 10


@pytest.fixture
def ada(new_connected: MakeConnected, sandbox: Sandbox) -> Syncing:
    """A connected user, of whom nothing has been read yet; Katana's limit is out of the way."""
    sandbox.rules(requests_per_minute=100_000)
    return Syncing(new_connected())


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty-four orders are seven pages."""
    monkeypatch.setattr(client, "PAGE_SIZE", SMALL_PAGE)
