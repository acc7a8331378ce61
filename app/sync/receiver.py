"""Katana's deliveries: verify the signature and make the resource due.

An unknown key and a wrong signature get the same response, and nothing is written. After many of
them, an address is refused without a database query. A key that once came with a valid signature is
exempt from this limit. So forged requests cannot block real deliveries, even from the same address.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from sqlalchemy import Engine, select

from app.connections.vault import Vault
from app.database.engine import single_reads
from app.katana import webhooks
from app.katana.fields import Unreadable
from app.katana.webhooks import Delivery
from app.sync.hints import Due, Hints
from app.sync.models import Webhook, hash_of, token_place
from app.sync.resources import Resource

REFUSED_PER_MINUTE = 120  # for each address and process
MOST_TRUSTED = 10_000  # keys

logger = logging.getLogger(__name__)


class DeliveryRefused(Exception):
    """A delivery whose key is unknown or whose signature is wrong."""


class RefusalLimit:
    """Counts the refused deliveries of each address, in this process."""

    def __init__(self) -> None:
        self._limit = RateLimitItemPerMinute(REFUSED_PER_MINUTE)
        self._counts = FixedWindowRateLimiter(MemoryStorage())
        self._trusted: set[str] = set()

    def is_reached(self, address: str, key_hash: str) -> bool:
        """Whether to refuse a delivery from `address` with this key, without checking it."""
        return key_hash not in self._trusted and not self._counts.test(self._limit, address)

    def count(self, address: str) -> None:
        """Count a refused delivery."""
        self._counts.hit(self._limit, address)

    def trust(self, key_hash: str) -> None:
        """Exempt a key from the limit, after a valid signature."""
        if len(self._trusted) >= MOST_TRUSTED:
            self._trusted.clear()
        self._trusted.add(key_hash)


@dataclass(frozen=True)
class Receiver:
    """Accepts deliveries."""

    engine: Engine
    vault: Vault
    hints: Hints
    resources: Mapping[str, Resource]
    limit: RefusalLimit = field(default_factory=RefusalLimit)

    def take(self, key: str, signature: str, address: str, body: Callable[[], bytes]) -> None:
        """Accept one delivery; `body` reads its raw bytes, and is called only for a known key.

        Raises DeliveryRefused if the key is unknown or the signature wrong, and SealBroken if the
        signing token does not open. The next check of the webhook seals the token again.
        """
        key_hash = hash_of(key)
        if self.limit.is_reached(address, key_hash):
            raise DeliveryRefused("too many refused deliveries from this address")

        row = self._webhook(key_hash)
        raw = body() if row else b""
        if row is None or not self._is_signed(row[0], row[1], raw, signature):
            self.limit.count(address)
            raise DeliveryRefused("the key is unknown" if row is None else "the signature is wrong")

        self.limit.trust(key_hash)
        self._hint(row[0], raw)

    def _webhook(self, key_hash: str) -> tuple[UUID, bytes] | None:
        known = select(Webhook.connection_id, Webhook.sealed_token).where(
            Webhook.key_hash == key_hash, Webhook.sealed_token.is_not(None)
        )
        with single_reads(self.engine).connect() as database:
            row = database.execute(known).first()
        return (row[0], row[1]) if row and row[1] else None

    def _is_signed(self, connection_id: UUID, sealed: bytes, raw: bytes, signature: str) -> bool:
        token = self.vault.open(sealed, token_place(connection_id))
        return webhooks.is_signed(raw, signature, token)

    def _hint(self, connection_id: UUID, raw: bytes) -> None:
        try:
            delivery = webhooks.read_delivery(raw)
        except Unreadable as error:
            # Not refused: it comes from Katana, and a retry would be the same.
            logger.warning("connection %s: a delivery says nothing: %s", connection_id, error)
            return

        due = self._due(delivery)
        if not due:
            logger.info("connection %s: a delivery of no event we asked for", connection_id)
            return

        self.hints.hint_each(connection_id, due)

    def _due(self, delivery: Delivery) -> Due:
        """The resources to read, each with the named record if it has no `updated_at`."""
        named = () if delivery.record_id is None else (delivery.record_id,)
        return {
            resource.name: () if resource.dated else named
            for resource in self.resources.values()
            if delivery.action in resource.events
        }
