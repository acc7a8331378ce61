"""Calls each function of Katana's login, with values that a test can search for."""

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable

import pytest

from app.credentials import KatanaSettings
from app.katana.oauth import (
    KatanaLogin,
)
from app.settings.config import load
from tests.support.wire import Heard, Wire, answer, answering

CODE = "canary-code-71"
VERIFIER = "canary-verifier-71-0123456789-0123456789-0123456789"
TOKEN = "canary-refresh-71"
CLIENT_SECRET = "canary-secret-71-0123456789"
GOOD = {
    "access_token": "canary-access-72",
    "refresh_token": "canary-refresh-72",
    "scope": "offline_access",
    "expires_in": 86400,
    "token_type": "Bearer",
}
CANARY = re.compile("canary-[a-z]+-7")


def settings(katana: Wire) -> KatanaSettings:
    """The registered client."""
    environ = {
        "KATANA_CLIENT_ID": "workshop",
        "KATANA_CLIENT_SECRET": CLIENT_SECRET,
        "KATANA_REDIRECT_URI": "https://workshop.test/katana/callback",
        "KATANA_AUTHORIZE_URL": f"{katana.url}/authorize",
        "KATANA_ACCESS_TOKEN_URL": f"{katana.url}/oauth/token",
        "KATANA_REVOKE_URL": f"{katana.url}/oauth/revoke",
        "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz",
        "TOKEN_ENCRYPTION_KEYS": f"k1:{urlsafe_b64encode(bytes(range(32))).decode()}",
    }
    return load(environ).katana


def says(katana: Wire, body: object, status: int = 200, **headers: str) -> None:
    """Let Katana respond with this from now on: bytes unchanged, anything else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    katana.script = answering(answer(data, status, named))


def only(katana: Wire) -> Heard:
    """The only request that Katana received."""
    (heard,) = katana.heard
    return heard


ASK: dict[str, Callable[[KatanaLogin], object]] = {
    "exchange": lambda login: login.exchange(CODE, VERIFIER),
    "refresh": lambda login: login.refresh(TOKEN),
    "revoke": lambda login: login.revoke(TOKEN),
}
asks = pytest.mark.parametrize("ask", ASK.values(), ids=list(ASK))
asks_for_a_grant = pytest.mark.parametrize(
    "ask", [ASK["exchange"], ASK["refresh"]], ids=["exchange", "refresh"]
)


def as_json(**changed: object) -> bytes:
    """A valid response after this change; None removes a field."""
    kept = {name: value for name, value in (GOOD | changed).items() if value is not None}
    return json.dumps(kept).encode()
