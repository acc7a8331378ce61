"""The ledger's memory: every request as it came, with its outcome once there is one.

Names of fields and headers are kept, never their values; a credential is kept as a fingerprint.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass, replace
from threading import Lock

KINDS = ("authorize", "exchange", "refresh", "revoke", "api")

_MOST_REMEMBERED = 5_000


@dataclass(frozen=True)
class Entry:
    """One request; `status` stays None while it is under way, and when no answer was given.

    `kind` is one of KINDS, or `decision` for the press of a button on the consent page.
    """

    n: int
    at: str
    method: str
    path: str
    kind: str
    fields: tuple[str, ...]
    headers: tuple[str, ...]
    fingerprint: str | None = None
    family: int | None = None
    status: int | None = None
    error: str | None = None
    fault: str | None = None
    remark: str | None = None
    finished_at: str | None = None


class Ledger:
    """The latest requests, and exact counts of all of them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[str] = Counter()
        self._entries: OrderedDict[int, Entry] = OrderedDict()

    def write(self, entry: Entry) -> int:
        """Add a request that has just come; return its number, which replaces the entry's own."""
        with self._lock:
            self._counts[entry.kind] += 1
            number = self._counts.total()
            self._entries[number] = replace(entry, n=number)
            if len(self._entries) > _MOST_REMEMBERED:
                self._entries.popitem(last=False)
            return number

    def amend(self, number: int, **known: object) -> None:
        """Complete an entry with what is known by now; one that was forgotten stays so."""
        with self._lock:
            if number in self._entries:
                self._entries[number] = replace(self._entries[number], **known)  # type: ignore[arg-type]

    def entries(self) -> list[Entry]:
        """Return what is remembered, oldest first."""
        with self._lock:
            return list(self._entries.values())

    def totals(self) -> dict[str, int]:
        """Return how many requests of each of KINDS ever came."""
        with self._lock:
            return {kind: self._counts[kind] for kind in KINDS}
