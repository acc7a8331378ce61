"""Families in a form that can be shown: states and fingerprints, but no tokens."""

from dataclasses import dataclass

from sandbox.clock import iso
from sandbox.families import Families
from sandbox.seed_factories import FACTORIES
from sandbox.tokens import AccessToken, Family, RefreshToken, fingerprint

_NAMES = {factory.key: factory.display_name for factory in FACTORIES}


@dataclass(frozen=True)
class RefreshTokenView:
    """One refresh token; `state` is current, spent or killed."""

    fingerprint: str
    state: str
    generation: int
    issued_at: str
    presented: int


@dataclass(frozen=True)
class AccessTokenView:
    """One access token; `state` is live, expired or killed."""

    fingerprint: str
    state: str
    expires_at: str


@dataclass(frozen=True)
class FamilyView:
    """One family; `state` is live or dead, `reason` is reuse, revoked, ended or None."""

    id: int
    factory: str
    state: str
    reason: str | None
    refresh_tokens: tuple[RefreshTokenView, ...]
    access_tokens: tuple[AccessTokenView, ...]


def family_views(families: Families) -> list[FamilyView]:
    """Return every family as it is at one moment, oldest first."""
    with families.lock:
        return [_family(family, families) for family in families.all]


def _family(family: Family, families: Families) -> FamilyView:
    return FamilyView(
        id=family.id,
        factory=_NAMES[family.factory],
        state="dead" if family.reason else "live",
        reason=family.reason,
        refresh_tokens=tuple(_refresh_token(link, family) for link in family.refresh_tokens),
        access_tokens=tuple(_access_token(access, families) for access in family.access_tokens),
    )


def _refresh_token(link: RefreshToken, family: Family) -> RefreshTokenView:
    state = "spent" if link.spent_at else "killed" if family.reason else "current"
    return RefreshTokenView(
        fingerprint=fingerprint(link.digest),
        state=state,
        generation=link.generation,
        issued_at=iso(link.issued_at),
        presented=link.presented,
    )


def _access_token(access: AccessToken, families: Families) -> AccessTokenView:
    state = "killed" if access.killed else "live" if families.is_live(access) else "expired"
    return AccessTokenView(
        fingerprint=fingerprint(access.digest), state=state, expires_at=iso(access.expires_at)
    )
