"""The parts of a token family. Tokens are stored as SHA-256 digests only."""

from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256


@dataclass(frozen=True)
class Grant:
    """The token response; `expires_in` is in seconds."""

    family: int
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    remark: str


class UnknownRefreshToken(Exception):
    """This refresh token is refused.

    `family` is None if the token is unknown; `remark` is the reason, which the ledger shows.
    """

    def __init__(self, family: int | None, remark: str) -> None:
        super().__init__(remark)
        self.family = family
        self.remark = remark


@dataclass
class RefreshToken:
    """A refresh token; `presented` counts how often it was sent, accepted or refused."""

    digest: str
    generation: int
    issued_at: datetime
    spent_at: datetime | None = None
    presented: int = 0


@dataclass
class AccessToken:
    """An access token; `killed` is set if its family ends before it expires."""

    digest: str
    expires_at: datetime
    killed: bool = False


@dataclass
class Family:
    """All tokens of one consent; `reason` is why it ended, None while it is live."""

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
    """Return the SHA-256 of a secret in hex, the only form in which it is stored."""
    return sha256(secret.encode()).hexdigest()


def fingerprint(digest_: str) -> str:
    """Return the short form of a digest that pages and JSON show."""
    return digest_[:16]
