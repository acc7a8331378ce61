"""Faults that are armed for later requests, and their fields."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from threading import Lock
from typing import Any

from sandbox import validation

TARGETS = ("exchange", "refresh", "token", "api", "revoke", "authorize", "delivery")
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
    *("lose", "double", "reorder", "delay", "forge", "unsigned"),
)
_OF_DELIVERIES = ("lose", "double", "reorder", "delay", "forge", "unsigned", "body")


@dataclass(frozen=True)
class Fault:
    """One armed fault; `times` 0 applies until cleared, `seconds` is the delay of `slow`.

    `method` and `path` (a prefix) select requests; the first `skip` of these are not affected. The
    kind `delivery` is a request of the sandbox to a webhook.
    """

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
    method: str | None = None
    path: str | None = None
    skip: int = 0

    def as_json(self) -> dict[str, object]:
        """Return the fault as the ledger shows it."""
        return asdict(self)

    def strikes(self, kind: str, method: str = "", path: str = "") -> bool:
        """Return whether this fault applies to such a request."""
        if self.method not in (None, method) or not path.startswith(self.path or ""):
            return False

        return self.on == kind or (self.on == "token" and kind in ("exchange", "refresh"))


def fault_from(asked: Mapping[str, object]) -> Fault:
    """Return the fault that a request describes.

    :raise ValueError: a field is unknown or missing, or has an invalid value.
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
    if fault.on == "delivery" and fault.fault not in _OF_DELIVERIES:
        raise ValueError(f"A delivery can only meet: {', '.join(_OF_DELIVERIES)}.")
    if fault.on != "delivery" and fault.fault in _OF_DELIVERIES and fault.fault != "body":
        raise ValueError(f"{fault.fault} can only strike a delivery.")

    return fault


class Faults:
    """The armed faults, oldest first; at most one applies to a request."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._armed: list[Fault] = []

    def arm(self, fault: Fault) -> None:
        """Arm a fault; those armed before it apply first."""
        with self._lock:
            self._armed.append(fault)

    def armed(self) -> list[Fault]:
        """Return the armed faults, each with its remaining `times`."""
        with self._lock:
            return list(self._armed)

    def take(self, kind: str, method: str = "", path: str = "") -> Fault | None:
        """Return the fault that applies to such a request, and count one use."""
        with self._lock:
            for place, fault in enumerate(self._armed):
                if not fault.strikes(kind, method, path):
                    continue
                if fault.skip:
                    self._armed[place] = replace(fault, skip=fault.skip - 1)
                    continue
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
    "on": lambda name, value: validation.one_of(name, value, TARGETS),
    "fault": lambda name, value: validation.one_of(name, value, FAULTS),
    "times": lambda name, value: validation.whole_number(name, value, low=0, high=100_000),
    "status": lambda name, value: validation.whole_number(name, value, low=200, high=599),
    "seconds": validation.seconds,
    "retry_after": validation.text_or_none,
    "fields": validation.words,
    "location": validation.text_or_none,
    "text": validation.text_or_none,
    "content_type": validation.text_or_none,
    "method": validation.text_or_none,
    "path": validation.text_or_none,
    "skip": lambda name, value: validation.whole_number(name, value, low=0, high=100_000),
}
