"""The settings of the core: the OAuth client at Katana, and the keys that encrypt tokens."""

from dataclasses import dataclass, field

KEY_BYTES = 32


@dataclass(frozen=True)
class KatanaSettings:
    """The OAuth client, and the addresses of Katana."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str
    authorize_url: str = "https://login.katanamrp.com/authorize"
    access_token_url: str = "https://login.katanamrp.com/oauth/token"  # noqa: S105  no secret
    revoke_url: str | None = None
    api_base_url: str = "https://api.katanamrp.com/v1"
    audience: str = "https://api.katanamrp.com"
    issuer: str | None = None
    pkce: bool = True
    #: Grace period: how long Katana may accept a refresh token again after its first use.
    rotation_overlap_seconds: int = 0


@dataclass(frozen=True)
class TokenKey:
    """A key that encrypts tokens, and its id. Raises ValueError for a key of another length."""

    kid: str
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")
