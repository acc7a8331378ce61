"""A token response as its row keeps it: encrypted tokens, and how long to use them."""

from dataclasses import dataclass, field
from uuid import UUID

from app.connections.backoff import jitter
from app.connections.host import UserId
from app.connections.vault import Place, Vault
from app.katana.oauth import Grant

MARGIN_SHARE = 0.1  # of a token's lifetime: refreshed ahead by one to two times this ...
MARGIN_SECONDS = 1800  # ... or by one to two times this many seconds, whichever is less
ALLOWANCE_SHARE = 0.05  # of its lifetime, for latency ...
ALLOWANCE_SECONDS = 5  # ... or this many seconds, whichever is less


@dataclass(frozen=True)
class SealedGrant:
    """An encrypted token response. A token that is None leaves the stored one unchanged."""

    access_token: bytes | None = field(repr=False)
    refresh_token: bytes | None = field(repr=False)
    scope: str | None
    #: Seconds from now until the access token is no longer used.
    usable_for: float
    #: Seconds from now until it is refreshed ahead.
    renew_in: float


def seal(
    vault: Vault, grant: Grant, connection_id: UUID, user_id: UserId, age: float = 0
) -> SealedGrant:
    """`grant`, which was received `age` seconds ago, encrypted for the row of this connection."""
    access, refresh = grant.access_token, grant.refresh_token
    at_access, at_refresh = (
        access_place(connection_id, user_id),
        refresh_place(connection_id, user_id),
    )
    usable_for = usable_seconds(grant.expires_in) - age
    return SealedGrant(
        access_token=None if access is None else vault.seal(access, at_access),
        refresh_token=None if refresh is None else vault.seal(refresh, at_refresh),
        scope=grant.scope,
        usable_for=usable_for,
        renew_in=usable_for - margin_seconds(grant.expires_in),
    )


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
