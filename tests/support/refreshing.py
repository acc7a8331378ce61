"""The parts of a refresh, with a stop where a test needs one."""

from collections.abc import Callable
from typing import Any

from app.connections.leases import Lease, Leases, Snapshot
from app.katana.oauth import Grant, KatanaLogin
from tests.support.connected import Connected, Parts

LONG_SECONDS = 3 * 3600  # longer than every pause


class Interrupted(KatanaLogin):
    """The real login; things happen right before and right after it is asked."""

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
    """The connection as it is now."""
    seen = parts.leases.read(connected.id)
    assert seen
    return seen


class Overtaken(Leases):
    """The real statements; while the first lease is being claimed, something else goes on."""

    meanwhile: Callable[[], object]
    claims = 0

    def claim(self, *how: Any) -> Lease | None:
        self.claims += 1
        if self.claims == 1:
            self.meanwhile()
        return super().claim(*how)
