"""The parts of a refresh, with hooks for a test."""

from collections.abc import Callable
from typing import Any

from app.connections.leases import Lease, Leases, Snapshot
from app.katana.oauth import Grant, KatanaLogin
from tests.support.connected import Connected, Parts

LONG_SECONDS = 3 * 3600  # longer than every back-off


class Interrupted(KatanaLogin):
    """The real login; calls functions before and after a request."""

    def __init__(
        self,
        login: KatanaLogin,
        before: Callable[[], object] = lambda: None,
        after: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(login.settings)
        self.before, self.after = before, after

    def refresh(self, *sent: Any) -> Grant:
        self.before()
        grant = super().refresh(*sent)
        self.after()
        return grant


def look(parts: Parts, connected: Connected) -> Snapshot:
    """A snapshot of the connection."""
    seen = parts.leases.read(connected.id)
    assert seen
    return seen


class Overtaken(Leases):
    """The real statements; calls a function while the first lease is claimed."""

    meanwhile: Callable[[], object]
    claims = 0

    def claim(self, *how: Any) -> Lease | None:
        self.claims += 1
        if self.claims == 1:
            self.meanwhile()
        return super().claim(*how)
