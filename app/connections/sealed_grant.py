"""A token response as it is stored: encrypted tokens, and how long to use the access token."""

from dataclasses import dataclass, field
from uuid import UUID

from app.connections.backoff import jitter
from app.connections.host import UserId
from app.connections.vault import AssociatedData, Vault
from app.katana.oauth import Grant

MARGIN_SHARE = 0.1  # refresh one to two times this share of the lifetime before expiry ...
MARGIN_SECONDS = 1800  # ... or one to two times this many seconds, whichever is less
ALLOWANCE_SHARE = 0.05  # for latency, stop using a token this share of its lifetime early ...
ALLOWANCE_SECONDS = 5  # ... or this many seconds early, whichever is less


@dataclass(frozen=True)
class SealedGrant:
    """An encrypted token response. A token that is None leaves the stored one unchanged."""

    access_token: bytes | None = field(repr=False)
    refresh_token: bytes | None = field(repr=False)
    scope: str | None
    #: Seconds from now until the access token is no longer used.
    usable_for: float
    #: Seconds from now until it is refreshed early.
    renew_in: float


def seal(
    vault: Vault, grant: Grant, connection_id: UUID, user_id: UserId, age: float = 0
) -> SealedGrant:
    """`grant`, received `age` seconds ago, encrypted for the row of this connection."""
    access, refresh = grant.access_token, grant.refresh_token
    access_aad, refresh_aad = (
        access_token_aad(connection_id, user_id),
        refresh_token_aad(connection_id, user_id),
    )
    usable_for = usable_seconds(grant.expires_in) - age
    return SealedGrant(
        access_token=None if access is None else vault.seal(access, access_aad),
        refresh_token=None if refresh is None else vault.seal(refresh, refresh_aad),
        scope=grant.scope,
        usable_for=usable_for,
        renew_in=usable_for - margin_seconds(grant.expires_in),
    )


def usable_seconds(expires_in: int) -> float:
    """Seconds for which an access token with this lifetime is used."""
    return expires_in - min(expires_in * ALLOWANCE_SHARE, ALLOWANCE_SECONDS)


def margin_seconds(expires_in: int) -> float:
    """How many seconds before its expiry an access token is refreshed, with jitter.

    The jitter spreads the refreshes of connections that were made at the same time.
    """
    return min(expires_in * MARGIN_SHARE, MARGIN_SECONDS) * jitter(1, 2)


def access_token_aad(connection_id: UUID, user_id: UserId) -> AssociatedData:
    """The associated data of an access token."""
    return AssociatedData("connections", "sealed_access_token", str(connection_id), str(user_id))


def refresh_token_aad(connection_id: UUID, user_id: UserId) -> AssociatedData:
    """The associated data of a refresh token."""
    return AssociatedData("connections", "sealed_refresh_token", str(connection_id), str(user_id))
