"""The webhook of each connection at Katana: create it, check it daily, repair it.

The random key in its URL is chosen, and its hash stored, before the request to Katana. So if the
response is lost, the webhook is found again by its URL, and is not created twice.
"""

import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, select, update

from app.connections.backoff import jitter
from app.connections.vault import Vault
from app.database.clock import Clock
from app.database.engine import single_statements
from app.database.leased_rows import LeasedRows, LeaseLost, Range, ranges
from app.errors import ApiForbidden, ApiRefused, ConnectError, NotConnected
from app.katana import webhooks
from app.katana.client import KatanaApi
from app.katana.webhooks import Registered
from app.sync.due import is_active, pause_after
from app.sync.models import Detail, Webhook, WebhookState, hash_of, token_place

CHECK_SECONDS = 24 * 3600.0
DUE_AHEAD_SECONDS = 2 * CHECK_SECONDS  # further ahead: the database's clock was wrong
LEASE_SECONDS = 60.0  # after this time another worker takes over
FIRST_PAUSE_SECONDS = 15.0  # back-off doubles with each failure

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subscriptions:
    """Creates and checks the webhooks."""

    engine: Engine
    clock: Clock
    vault: Vault
    api: Callable[[UUID], KatanaApi]
    #: The start of each webhook's URL; the key follows.
    base_url: str
    events: frozenset[str]

    @property
    def rows(self) -> LeasedRows[Webhook]:
        """The rows of the table, each leased to one worker at a time."""
        return LeasedRows(self.engine, self.clock, Webhook, LEASE_SECONDS, _due)

    def due(self, limit: int) -> Sequence[UUID]:
        """Connections whose webhook is to be created or checked now, the longest due first."""
        return self.rows.due(limit)

    def check(self, connection_id: UUID) -> None:
        """Create, check or repair the webhook, if that is due."""
        held = self.rows.claim(Webhook.connection_id == connection_id)
        if held is None:
            return

        try:
            self._store(held, self._as_it_should_be(held, self.api(connection_id)))
        except (LeaseLost, NotConnected):
            logger.info("connection %s: its webhook is not ours to check any more", connection_id)
        except (ApiForbidden, ApiRefused) as error:
            self._do_without(held, error)
        except ConnectError as error:
            seconds, failures = pause_after(error, held.failures, FIRST_PAUSE_SECONDS)
            if failures > held.failures:
                logger.warning("connection %s: webhook not checked: %s", connection_id, error)
            self._finish(held, seconds * jitter(1, 1.2), failures=failures)

    def check_soon(self, key: str) -> None:
        """Make the check of the webhook with this key due now. It seals the signing token again."""
        now = self.clock.database_time()
        its = update(Webhook).where(Webhook.key_hash == hash_of(key), Webhook.due_at > now)
        with single_statements(self.engine).connect() as database:
            database.execute(its.values(due_at=now))

    def katana_id(self, connection_id: UUID) -> int | None:
        """Katana's id of the connection's webhook; None if it is not known."""
        its = select(Webhook.katana_id).where(Webhook.connection_id == connection_id)
        with single_statements(self.engine).connect() as database:
            return database.scalar(its)

    def _as_it_should_be(self, held: Webhook, api: KatanaApi) -> Registered:
        found = list(webhooks.registered(api))
        own = next((each for each in found if self._hash_in(each) == held.key_hash), None)
        if held.key_hash is None or own is None:
            self._delete_forgotten(api, found)
            return webhooks.register(api, self.base_url + self._new_key(held), self.events)

        if own.enabled and own.events == self.events:
            return own

        logger.warning("connection %s: its webhook is repaired", held.connection_id)
        return webhooks.repair(api, own.id, self.events)

    def _delete_forgotten(self, api: KatanaApi, found: Iterable[Registered]) -> None:
        """Delete webhooks of this app that are not in its table, as after a restored backup.

        Other users of this app may have connected the same account. Their webhooks are in the
        table, so they stay.
        """
        ours = {digest: each for each in found if (digest := self._hash_in(each))}
        with single_statements(self.engine).connect() as database:
            known = database.scalars(select(Webhook.key_hash).where(Webhook.key_hash.in_(ours)))
            forgotten = ours.keys() - set(known)
        for digest in forgotten:
            webhooks.delete(api, ours[digest].id)

    def _hash_in(self, webhook: Registered) -> str | None:
        is_ours = webhook.url.startswith(self.base_url)
        return hash_of(webhook.url.removeprefix(self.base_url)) if is_ours else None

    def _new_key(self, held: Webhook) -> str:
        key = secrets.token_urlsafe(32)
        anew = {"key_hash": hash_of(key), "katana_id": None, "state": WebhookState.MISSING}
        if not self.rows.set(held, **anew):
            raise LeaseLost

        return key

    def _store(self, held: Webhook, webhook: Registered) -> None:
        self._finish(
            held,
            CHECK_SECONDS * jitter(0.8, 1),
            katana_id=webhook.id,
            sealed_token=self.vault.seal(webhook.token, token_place(held.connection_id)),
            state=WebhookState.ACTIVE,
            detail=None,
            failures=0,
            checked_at=self.clock.database_time(),
        )

    def _do_without(self, held: Webhook, error: ApiForbidden | ApiRefused) -> None:
        logger.info("connection %s: no webhook, it is polled: %s", held.connection_id, error)
        plain = not self.base_url.startswith("https:")
        refused = Detail.NOT_HTTPS if plain else Detail.REFUSED
        self._finish(
            held,
            CHECK_SECONDS * jitter(0.8, 1),
            state=WebhookState.UNAVAILABLE,
            detail=Detail.FORBIDDEN if isinstance(error, ApiForbidden) else refused,
            checked_at=self.clock.database_time(),
        )

    def _finish(self, held: Webhook, seconds: float, **values: Any) -> None:
        """Store the result; the next check is due after so many seconds."""
        self.rows.finish(held, due_at=self.clock.database_time(seconds), **values)


def _due(clock: Clock) -> Sequence[Range]:
    return ranges(Webhook.due_at, clock, DUE_AHEAD_SECONDS, is_active(Webhook.connection_id))
