"""Connects and disconnects, with a hook before or after a step."""

from collections.abc import Callable

from app.connections import lifecycle
from app.connections.lifecycle import Lifecycle, Revocation
from app.connections.models import EventKind
from app.connections.vault import AssociatedData, Vault
from app.katana.oauth import Grant, KatanaLogin
from tests.support.connected import Connected

GRANT = Grant("canary-access-91", "canary-refresh-91", 3600, "offline_access")


class Interrupted(Vault):
    """The real vault; calls a function before it seals for the first time."""

    def __init__(self, connected: Connected, before: Callable[[], object]) -> None:
        super().__init__(connected.settings.token_keys)
        self.left = [before]

    def seal(self, text: str, aad: AssociatedData) -> bytes:
        if self.left:
            self.left.pop()()
        return super().seal(text, aad)


class Asked(KatanaLogin):
    """The real login; calls a function while it revokes."""

    def __init__(self, login: KatanaLogin, meanwhile: Callable[[], object]) -> None:
        super().__init__(login.settings)
        self.meanwhile = meanwhile
        self.revoked: list[str] = []

    def revoke(self, refresh_token: str) -> None:
        self.meanwhile()
        self.revoked.append(refresh_token)
        super().revoke(refresh_token)


def connect(
    connected: Connected,
    grant: Grant = GRANT,
    state: str = "another",
    vault: Vault | None = None,
    login: KatanaLogin | None = None,
) -> lifecycle.Connected:
    """Store a grant for this user."""
    with connected.app.app_context():
        return Lifecycle(
            login or KatanaLogin(connected.settings.katana),
            vault or connected.vault,
            connected.clock,
        ).connect(connected.user_id, grant, state)


def disconnect(
    connected: Connected, login: KatanaLogin | None = None, vault: Vault | None = None
) -> Revocation | None:
    """End this user's connection."""
    with connected.app.app_context():
        return Lifecycle(
            login or KatanaLogin(connected.settings.katana),
            vault or connected.vault,
            connected.clock,
        ).disconnect(connected.user_id)


def is_connected(connected: Connected) -> bool:
    """Whether this user has a connection."""
    with connected.app.app_context():
        return lifecycle.find(connected.user_id) is not None


def changes(connected: Connected) -> list[EventKind]:
    """The events of this user's connection, oldest first."""
    return [kind for kind, _ in connected.history()]
