"""The log of deliveries to webhooks: each with its attempts and its state."""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock

from sandbox.clock import iso

#: The states of a delivery. Lost: a fault kept it from being sent. Dropped: its webhook was deleted
#: or disabled.
STATES = ("waiting", "delivered", "failed", "lost", "dropped")

_MOST_REMEMBERED = 5_000


@dataclass(frozen=True)
class Attempt:
    """One POST; `status` is None if no response came, and `error` then says why."""

    at: str
    status: int | None
    error: str | None = None


@dataclass(frozen=True)
class Delivery:
    """One payload for one webhook; `signature` is right, wrong or none, for the first attempt."""

    n: int
    webhook: int
    url: str
    at: str
    action: str
    body: bytes = field(repr=False)
    signature: str = "right"
    fault: str | None = None
    state: str = "waiting"
    attempts: tuple[Attempt, ...] = ()
    due: str | None = None

    def as_json(self) -> dict[str, object]:
        """Return the delivery as the ledger shows it."""
        attempts = [{"at": a.at, "status": a.status, "error": a.error} for a in self.attempts]
        return {
            "n": self.n,
            "webhook": self.webhook,
            "at": self.at,
            "action": self.action,
            "body": self.body.decode(errors="replace"),
            "fault": self.fault,
            "state": self.state,
            "attempts": attempts,
            "due": self.due,
        }


class Deliveries:
    """The latest deliveries, and exact counts of all."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._last = 0
        self._counts: Counter[str] = Counter()
        self._log: OrderedDict[int, Delivery] = OrderedDict()

    def write(self, delivery: Delivery) -> Delivery:
        """Add a delivery; return it with its number."""
        with self._lock:
            self._last += 1
            numbered = replace(delivery, n=self._last)
            self._counts[numbered.state] += 1
            self._log[numbered.n] = numbered
            if len(self._log) > _MOST_REMEMBERED:
                self._log.popitem(last=False)
            return numbered

    def attempted(
        self, delivery: Delivery, attempt: Attempt | None, state: str, due: datetime | None = None
    ) -> Delivery:
        """Log an attempt (None: there was none) and the new state of the delivery."""
        attempts = delivery.attempts + ((attempt,) if attempt else ())
        now = replace(delivery, attempts=attempts, state=state, due=iso(due) if due else None)
        with self._lock:
            self._counts[delivery.state] -= 1
            self._counts[state] += 1
            if now.n in self._log:
                self._log[now.n] = now
        return now

    def all(self) -> list[Delivery]:
        """Return the stored deliveries, oldest first."""
        with self._lock:
            return list(self._log.values())

    def totals(self) -> dict[str, int]:
        """Return how many deliveries are in each of STATES."""
        with self._lock:
            return {state: self._counts[state] for state in STATES}
