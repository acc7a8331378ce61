"""What a token family is made of; tokens are remembered as SHA-256 digests only.

Finding a token is therefore a hash lookup, and nothing here could show one if it tried.
"""

from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256


@dataclass(frozen=True)
class Grant:
    """What the token endpoint hands out once; `expires_in` is seconds."""

    family: int
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    remark: str


class UnknownRefreshToken(Exception):
    """Nothing is given for this refresh token.

    `family` is None when no family ever had it; `remark` tells the ledger's reader why.
    """

    def __init__(self, family: int | None, remark: str) -> None:
        super().__init__(remark)
        self.family = family
        self.remark = remark


@dataclass
class RefreshToken:
    """One link of the chain; `presented` counts its arrivals at the rotation, good or refused."""

    digest: str
    generation: int
    issued_at: datetime
    spent_at: datetime | None = None
    presented: int = 0


@dataclass
class AccessToken:
    """One key to the API; `killed` is set when its family ends before it expires."""

    digest: str
    expires_at: datetime
    killed: bool = False


@dataclass
class Family:
    """All tokens that grew out of one consent; `reason` is why it ended, None while it lives."""

    id: int
    factory: str
    reason: str | None = None
    refresh_tokens: list[RefreshToken] = field(default_factory=list)
    access_tokens: list[AccessToken] = field(default_factory=list)

    @property
    def newest(self) -> int:
        """Return the generation that is current, or was when the family ended."""
        return self.refresh_tokens[-1].generation


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret in hex, all that is remembered of it."""
    return sha256(secret.encode()).hexdigest()


def fingerprint(digest_: str) -> str:
    """Return the short form of a digest that pages and JSON show."""
    return digest_[:16]
