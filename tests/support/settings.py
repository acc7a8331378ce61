"""Valid settings, and the messages about invalid ones."""

import base64

from app.credentials import KEY_BYTES
from app.errors import ConfigurationError
from app.settings.config import load

CANARY = "canary"  # in every wrong value below: no message may repeat one
KEY = bytes(range(KEY_BYTES))
SOUND = {
    "KATANA_CLIENT_ID": "workshop",
    "KATANA_CLIENT_SECRET": "0123456789abcdefghijklmnop",
    "KATANA_REDIRECT_URI": "https://workshop.test/katana/callback",
    "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz",
    "TOKEN_ENCRYPTION_KEYS": f"k1:{base64.urlsafe_b64encode(KEY).decode()}",
}


def faults(**changed: str) -> tuple[str, ...]:
    """The faults of valid settings after this change."""
    try:
        load(SOUND | changed)
    except ConfigurationError as error:
        return error.faults
    return ()


def token_key(kid: str, key: bytes) -> str:
    """A key in the format of TOKEN_ENCRYPTION_KEYS."""
    return f"{kid}:{base64.urlsafe_b64encode(key).decode()}"
