"""The ledger: a log of every request and its outcome.

It has the names of fields and headers, but not their values. A credential is stored as a
fingerprint.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass, replace
from threading import Lock

KINDS = ("authorize", "exchange", "refresh", "revoke", "api")

_MOST_REMEMBERED = 5_000


@dataclass(frozen=True)
class Entry:
    """One request; `status` is None until the response is sent, and if none is sent.

    `kind` is one of KINDS, or `decision` for a button of the consent page.
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
        """Add a new request; return its number, which replaces `entry.n`."""
        with self._lock:
            self._counts[entry.kind] += 1
            number = self._counts.total()
            self._entries[number] = replace(entry, n=number)
            if len(self._entries) > _MOST_REMEMBERED:
                self._entries.popitem(last=False)
            return number

    def amend(self, number: int, **known: object) -> None:
        """Update an entry, if it is still stored."""
        with self._lock:
            if number in self._entries:
                self._entries[number] = replace(self._entries[number], **known)  # type: ignore[arg-type]

    def entries(self) -> list[Entry]:
        """Return the stored entries, oldest first."""
        with self._lock:
            return list(self._entries.values())

    def totals(self) -> dict[str, int]:
        """Return how many requests of each of KINDS were received."""
        with self._lock:
            return {kind: self._counts[kind] for kind in KINDS}
