"""How `flask doctor` asks a served app what a request looks like once it has come through.

Proxies in front decide that, and only the app itself can see it. It answers nobody but who knows
SECRET_KEY: to all others it says what it says to everybody.
"""

import hmac
import json
from dataclasses import asdict, dataclass

HEADER = "X-Doctor"


@dataclass(frozen=True)
class Arrived:
    """A request as the app takes it: whom it is from, and how it came."""

    address: str
    scheme: str
    host: str

    def told(self) -> str:
        """This as text."""
        return json.dumps(asdict(self))


def proof(secret_key: str) -> str:
    """What to send in HEADER."""
    return hmac.digest(secret_key.encode(), b"flask doctor", "sha256").hex()


def is_proof(value: str | None, secret_key: str) -> bool:
    """Whether `value` is from somebody who knows the key."""
    return value is not None and hmac.compare_digest(value.encode(), proof(secret_key).encode())


def read(text: str) -> Arrived | None:
    """What an app has told; None where this is something else."""
    try:
        return Arrived(**json.loads(text))
    except (ValueError, TypeError):
        return None
