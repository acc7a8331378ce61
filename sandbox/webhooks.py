"""The webhooks that apps have registered at each factory."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock
from typing import Any

from sandbox.clock import iso


@dataclass(frozen=True)
class Webhook:
    """One webhook; `token` signs its deliveries, `base` is the base URL of links to the API."""

    id: int
    factory: str
    base: str
    url: str
    token: str = field(repr=False)
    enabled: bool
    description: str | None
    subscribed_events: tuple[str, ...]
    created_at: str
    updated_at: str

    def as_json(self) -> dict[str, object]:
        """Return the webhook as Katana's API shows it, with its token."""
        return {
            "id": self.id,
            "url": self.url,
            "token": self.token,
            "enabled": self.enabled,
            "description": self.description,
            "subscribed_events": list(self.subscribed_events),
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }


class Webhooks:
    """Every webhook of every factory, behind one lock."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = Lock()
        self._webhooks: dict[int, Webhook] = {}
        self._last = 0

    def add(self, factory: str, base: str, asked: Mapping[str, Any]) -> Webhook:
        """Register a webhook; the fields in `asked` have been validated."""
        at = iso(self._now())
        with self._lock:
            self._last += 1
            webhook = Webhook(
                id=self._last,
                factory=factory,
                base=base,
                url=asked["url"],
                token=secrets.token_hex(8),
                enabled=asked.get("enabled", True),
                description=asked.get("description"),
                subscribed_events=tuple(asked["subscribed_events"]),
                created_at=at,
                updated_at=at,
            )
            self._webhooks[webhook.id] = webhook
            return webhook

    def change(self, webhook_id: int, asked: Mapping[str, Any]) -> Webhook:
        """Change some fields of a webhook.

        :raise LookupError: there is no such webhook.
        """
        changes = dict(asked)
        if "subscribed_events" in changes:
            changes["subscribed_events"] = tuple(changes["subscribed_events"])
        with self._lock:
            webhook = self._found(webhook_id)
            changed = replace(webhook, **changes, updated_at=iso(self._now()))
            self._webhooks[webhook_id] = changed
            return changed

    def delete(self, webhook_id: int) -> None:
        """Delete a webhook.

        :raise LookupError: there is no such webhook.
        """
        with self._lock:
            del self._webhooks[self._found(webhook_id).id]

    def find(self, webhook_id: int) -> Webhook:
        """Return one webhook as it is now.

        :raise LookupError: there is no such webhook.
        """
        with self._lock:
            return self._found(webhook_id)

    def all(self, factory: str | None = None) -> list[Webhook]:
        """Return the webhooks of one factory, or of all, the newest first."""
        with self._lock:
            webhooks = list(self._webhooks.values())[::-1]
        return [each for each in webhooks if factory in (None, each.factory)]

    def _found(self, webhook_id: int) -> Webhook:
        if webhook_id not in self._webhooks:
            raise LookupError(f"There is no webhook {webhook_id}.")

        return self._webhooks[webhook_id]
