"""Faults that are armed against the requests to come, and what one may consist of."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from threading import Lock
from typing import Any

from sandbox import given

TARGETS = ("exchange", "refresh", "token", "api", "revoke", "authorize")
FAULTS = (
    "lose_answer",
    "drop_before",
    "status",
    "slow",
    "drip",
    "redirect",
    "omit",
    "body",
    "invalid_grant",
)


@dataclass(frozen=True)
class Fault:
    """One armed fault; `times` 0 strikes until cleared, `seconds` is how long `slow` waits."""

    on: str
    fault: str
    times: int = 1
    status: int = 503
    seconds: float = 2
    retry_after: str | None = None
    fields: tuple[str, ...] = ("refresh_token",)
    location: str | None = None
    text: str | None = None
    content_type: str | None = None

    def as_json(self) -> dict[str, object]:
        """Return the fault as the ledger shows it."""
        return asdict(self)

    def strikes(self, kind: str) -> bool:
        """Return whether this fault is meant for a request of this kind."""
        return self.on == kind or (self.on == "token" and kind in ("exchange", "refresh"))


def fault_from(asked: Mapping[str, object]) -> Fault:
    """Return the fault that a request describes.

    :raise ValueError: a field that is not known or missing, or a value that it cannot have.
    """
    for name in asked:
        if name not in _READ:
            raise ValueError(f"A fault has no field called {name!r}.")
    read = {name: _READ[name](name, value) for name, value in asked.items()}
    if "on" not in read or "fault" not in read:
        raise ValueError("A fault needs both `on` and `fault`.")

    fault = Fault(**read)
    if fault.fault == "invalid_grant" and fault.on not in ("exchange", "refresh", "token"):
        raise ValueError("invalid_grant can only strike exchange, refresh or token.")

    return fault


class Faults:
    """The faults that are armed, oldest first; one request meets at most one of them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._armed: list[Fault] = []

    def arm(self, fault: Fault) -> None:
        """Let this fault strike from now on, after those armed before it."""
        with self._lock:
            self._armed.append(fault)

    def armed(self) -> list[Fault]:
        """Return what is armed, with the times that are left."""
        with self._lock:
            return list(self._armed)

    def take(self, kind: str) -> Fault | None:
        """Return the fault that a request of this kind meets, and use up one of its times."""
        with self._lock:
            for place, fault in enumerate(self._armed):
                if fault.strikes(kind):
                    self._use_up(place, fault)
                    return fault
        return None

    def clear(self) -> None:
        """Disarm everything."""
        with self._lock:
            self._armed.clear()

    def _use_up(self, place: int, fault: Fault) -> None:
        if fault.times > 1:
            self._armed[place] = replace(fault, times=fault.times - 1)
        if fault.times == 1:
            del self._armed[place]


_READ: dict[str, Callable[[str, object], Any]] = {
    "on": lambda name, value: given.one_of(name, value, TARGETS),
    "fault": lambda name, value: given.one_of(name, value, FAULTS),
    "times": lambda name, value: given.whole_number(name, value, low=0, high=100_000),
    "status": lambda name, value: given.whole_number(name, value, low=200, high=599),
    "seconds": given.seconds,
    "retry_after": given.text_or_none,
    "fields": given.words,
    "location": given.text_or_none,
    "text": given.text_or_none,
    "content_type": given.text_or_none,
}
