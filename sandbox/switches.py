"""The rules of the sandbox, which can be changed while it runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sandbox import validation


@dataclass(frozen=True)
class Rules:
    """Behaviour that may differ between Katana accounts; the defaults are the strictest.

    Times are in seconds. `rotation_overlap_seconds` is what Auth0 calls leeway. `list_order` is the
    field by which lists are sorted, newest first. `webhooks` says whether apps may create them
    (`allowed`), or the user's role (`role`) or plan (`plan`) does not allow it.
    `webhooks_over_http` allows plain http on loopback addresses, although Katana requires https.
    """

    access_token_seconds: int = 60
    code_seconds: int = 60
    rotation_overlap_seconds: int = 0
    error_shape: str = "wrapped"
    requests_per_minute: int = 60
    callback_method: str = "get"
    latency_seconds: float = 0
    send_iss: bool = False
    list_order: str = "created_at"
    ratelimit_reset: str = "ms"
    webhooks: str = "allowed"
    webhooks_over_http: bool = True
    webhooks_most: int = 20
    webhook_ids: str = "text"
    webhook_timeout_seconds: float = 10
    webhook_retry_seconds: tuple[float, ...] = (30, 120, 900)

    def changed(self, asked: Mapping[str, object]) -> "Rules":
        """Return these rules with some of them changed.

        :raise ValueError: a rule is unknown, or has an invalid value.
        """
        for name in asked:
            if name not in _READ:
                raise ValueError(f"There is no rule called {name!r}.")

        return replace(self, **{name: _READ[name](name, value) for name, value in asked.items()})


def _a_day(name: str, value: object) -> int:
    return validation.whole_number(name, value, low=0, high=86_400)


_READ: dict[str, Callable[[str, object], Any]] = {
    "access_token_seconds": _a_day,
    "code_seconds": _a_day,
    "rotation_overlap_seconds": _a_day,
    "error_shape": lambda name, value: validation.one_of(name, value, ("wrapped", "flat")),
    "requests_per_minute": lambda name, value: validation.whole_number(
        name, value, low=0, high=100_000
    ),
    "callback_method": lambda name, value: validation.one_of(name, value, ("get", "post")),
    "latency_seconds": validation.seconds,
    "send_iss": validation.flag,
    "list_order": lambda name, value: validation.one_of(name, value, ("created_at", "updated_at")),
    "ratelimit_reset": lambda name, value: validation.one_of(name, value, ("ms", "s")),
    "webhooks": lambda name, value: validation.one_of(name, value, ("allowed", "role", "plan")),
    "webhooks_over_http": validation.flag,
    "webhooks_most": lambda name, value: validation.whole_number(name, value, low=0, high=1_000),
    "webhook_ids": lambda name, value: validation.one_of(name, value, ("text", "number")),
    "webhook_timeout_seconds": validation.seconds,
    "webhook_retry_seconds": validation.many_seconds,
}
