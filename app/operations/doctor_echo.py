"""Tells `flask doctor` how its own request arrived at the app.

Proxies in front change a request, and only the app can see the result. It is sent only to a client
that knows SECRET_KEY. Every other client gets the usual response.
"""

import hmac
import json
from dataclasses import asdict, dataclass

HEADER = "X-Doctor"


@dataclass(frozen=True)
class Arrived:
    """A request as it arrived: from which address, and by which scheme and host."""

    address: str
    scheme: str
    host: str

    def told(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))


def proof(secret_key: str) -> str:
    """The value of HEADER."""
    return hmac.digest(secret_key.encode(), b"flask doctor", "sha256").hex()


def is_proof(value: str | None, secret_key: str) -> bool:
    """Whether the sender of `value` knows the key."""
    return value is not None and hmac.compare_digest(value.encode(), proof(secret_key).encode())


def read(text: str) -> Arrived | None:
    """Parse the response of an app; None if it is something else."""
    try:
        return Arrived(**json.loads(text))
    except (ValueError, TypeError):
        return None
