"""Open consent pages, and the codes that they lead to."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import TypeVar

from sandbox.tokens import digest

_PAGE_LIVES = timedelta(hours=1)  # Auth0 forgets a login transaction after this long.
_MOST_REMEMBERED = 5_000

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Asked:
    """The parameters of a valid authorization request."""

    redirect_uri: str
    state: str = field(repr=False)
    code_challenge: str | None


@dataclass(frozen=True)
class Approved:
    """The consent that a code was issued for."""

    factory: str
    asked: Asked


class Consents:
    """Pages that wait for a decision, and codes that wait for their exchange; both work once."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = Lock()
        self._pages: dict[str, tuple[Asked, datetime]] = {}
        self._codes: dict[str, tuple[Approved, datetime]] = {}

    def show(self, asked: Asked) -> str:
        """Store a consent page; return the secret that its form sends back."""
        transaction = secrets.token_urlsafe(24)
        with self._lock:
            _remember(self._pages, transaction, (asked, self._now() + _PAGE_LIVES))
        return transaction

    def decide(self, transaction: str) -> Asked | None:
        """Return the request of this page; None the second time, or if the page has expired."""
        with self._lock:
            asked, until = self._pages.pop(digest(transaction), (None, self._now()))
            return asked if self._now() < until else None

    def issue_code(self, approved: Approved, seconds: int) -> str:
        """Return a code that may be exchanged once within this many seconds."""
        code = f"code-{secrets.token_urlsafe(32)}"
        with self._lock:
            until = self._now() + timedelta(seconds=seconds)
            _remember(self._codes, code, (approved, until))
        return code

    def redeem(self, code: str) -> Approved | None:
        """Return the consent of a code; None the second time, or if the code has expired."""
        with self._lock:
            approved, until = self._codes.pop(digest(code), (None, self._now()))
            return approved if self._now() < until else None


def _remember(memory: dict[str, Kept], secret: str, kept: Kept) -> None:
    """Store `kept` by the digest of its secret; drop the oldest entry if there are too many."""
    memory[digest(secret)] = kept
    if len(memory) > _MOST_REMEMBERED:
        del memory[next(iter(memory))]
