"""A token response as columns of its connection: encrypted tokens, expiry, refresh time."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.connections.backoff import jitter
from app.connections.host import UserId
from app.connections.vault import Place, Vault
from app.database.clock import Clock
from app.katana.oauth import Grant

MARGIN_SHARE = 0.1  # of a token's lifetime: refreshed ahead by one to two times this ...
MARGIN_SECONDS = 1800  # ... or by one to two times this many seconds, whichever is less
ALLOWANCE_SHARE = 0.05  # of its lifetime, for latency ...
ALLOWANCE_SECONDS = 5  # ... or this many seconds, whichever is less


def columns(
    vault: Vault, clock: Clock, grant: Grant, connection_id: UUID, user_id: UserId, age: float = 0
) -> Mapping[str, Any]:
    """The column values that store `grant`, which was received `age` seconds ago.

    A token that is missing in it leaves the stored one unchanged.
    """
    sealed = {}
    if grant.refresh_token is not None:
        place = refresh_place(connection_id, user_id)
        sealed["sealed_refresh_token"] = vault.seal(grant.refresh_token, place)
    if grant.access_token is None:
        return sealed

    place = access_place(connection_id, user_id)
    sealed["sealed_access_token"] = vault.seal(grant.access_token, place)
    used_for = usable_seconds(grant.expires_in) - age
    return {
        **sealed,
        "scope": grant.scope,
        "expires_at": clock.database_time(used_for),
        "renew_at": clock.database_time(used_for - margin_seconds(grant.expires_in)),
        "refreshed_at": clock.database_time(),
    }


def usable_seconds(expires_in: int) -> float:
    """Seconds for which a token with this lifetime is used."""
    return expires_in - min(expires_in * ALLOWANCE_SHARE, ALLOWANCE_SECONDS)


def margin_seconds(expires_in: int) -> float:
    """Seconds before its end at which a token is refreshed ahead, with jitter.

    The jitter spreads the refreshes of connections that were made in the same minute.
    """
    return min(expires_in * MARGIN_SHARE, MARGIN_SECONDS) * jitter(1, 2)


def access_place(connection_id: UUID, user_id: UserId) -> Place:
    """The associated data of an access token."""
    return Place("connections", "sealed_access_token", str(connection_id), str(user_id))


def refresh_place(connection_id: UUID, user_id: UserId) -> Place:
    """The associated data of a refresh token."""
    return Place("connections", "sealed_refresh_token", str(connection_id), str(user_id))
