"""The webhook of each connection: made, found again, checked daily, repaired, deleted.

The random key in its URL is chosen, and its hash stored, before Katana is asked. So a webhook whose
creation was answered to nobody is found again by its URL, and is never made twice.
"""

import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Engine, select, update

from app.connections.backoff import exponential, jitter
from app.connections.models import Connection, Status
from app.connections.vault import Vault
from app.database.clock import Clock
from app.database.engine import single_statements
from app.errors import (
    ApiBusy,
    ApiForbidden,
    ApiRefused,
    ConnectError,
    NotConnected,
    ReconnectNeeded,
    TryAgainLater,
)
from app.katana import webhooks
from app.katana.client import KatanaApi
from app.katana.webhooks import Registered
from app.sync import due
from app.sync.due import NO_LEASE, LeaseLost
from app.sync.webhook import Detail, Webhook, WebhookState, hash_of, token_place

CHECK_SECONDS = 24 * 3600.0
DUE_AHEAD_SECONDS = 2 * CHECK_SECONDS  # further ahead: the database's clock was wrong
LEASE_SECONDS = 60.0  # a dead worker's check is taken over then
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 15.0, 3600.0  # back-off doubles with each failure

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checking:
    """A webhook that this worker may check."""

    connection_id: UUID
    owner: str
    key_hash: str | None
    failures: int


@dataclass(frozen=True)
class Subscriptions:
    """Sees to the webhooks."""

    engine: Engine
    clock: Clock
    vault: Vault
    api: Callable[[UUID], KatanaApi]
    #: What the URL of each begins with; its key follows.
    base_url: str
    events: frozenset[str]

    def due(self, limit: int) -> Sequence[UUID]:
        """Connections whose webhook is to be made or checked now, longest due first."""
        free = due.is_over(Webhook.lease_until, self.clock, 2 * LEASE_SECONDS)
        found = (
            select(Webhook.connection_id, Webhook.due_at)
            .join(Connection, Connection.id == Webhook.connection_id)
            .where(Connection.status == Status.ACTIVE, free)
        )
        ranges = due.ranges(Webhook.due_at, self.clock, DUE_AHEAD_SECONDS)
        with single_statements(self.engine).connect() as database:
            return database.scalars(due.first(found, ranges, limit)).all()

    def check(self, connection_id: UUID) -> None:
        """Make the webhook, or see that it is as it should be, if that is due."""
        held = self._claim(connection_id)
        if held is None:
            return

        try:
            self._store(held, self._as_it_should_be(held, self.api(connection_id)))
        except (LeaseLost, NotConnected):
            logger.info("connection %s: its webhook is not ours to check any more", connection_id)
        except (ApiForbidden, ApiRefused) as error:
            self._do_without(held, error)
        except ReconnectNeeded:
            self._set(held, **NO_LEASE)
        except (ApiBusy, TryAgainLater) as error:
            self._put_off(held, error.retry_after, held.failures)
        except ConnectError as error:
            logger.warning("connection %s: webhook not checked: %s", connection_id, error)
            pause = exponential(held.failures, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
            self._put_off(held, pause, held.failures + 1)

    def check_soon(self, key: str) -> None:
        """Let the webhook with this key be checked now, which seals its token anew."""
        now = self.clock.database_time()
        its = update(Webhook).where(Webhook.key_hash == hash_of(key), Webhook.due_at > now)
        with single_statements(self.engine).connect() as database:
            database.execute(its.values(due_at=now))

    def katana_id(self, connection_id: UUID) -> int | None:
        """The number of its webhook at Katana; None where none is known."""
        its = select(Webhook.katana_id).where(Webhook.connection_id == connection_id)
        with single_statements(self.engine).connect() as database:
            return database.scalar(its)

    def _as_it_should_be(self, held: Checking, api: KatanaApi) -> Registered:
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
        """Delete those that this app has made and knows no more, as after a restored backup.

        Other users of this app may have connected the same account: theirs are known, and stay.
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

    def _new_key(self, held: Checking) -> str:
        key = secrets.token_urlsafe(32)
        self._set(held, key_hash=hash_of(key), katana_id=None, state=WebhookState.MISSING)
        return key

    def _claim(self, connection_id: UUID) -> Checking | None:
        owner = uuid4().hex
        claiming = (
            update(Webhook)
            .where(
                Webhook.connection_id == connection_id,
                self._is_due(),
                due.is_over(Webhook.lease_until, self.clock, 2 * LEASE_SECONDS),
            )
            .values(lease_owner=owner, lease_until=self.clock.database_time(LEASE_SECONDS))
            .returning(Webhook.key_hash, Webhook.failures)
        )
        with self.engine.begin() as database:
            row = database.execute(claiming).first()
        return Checking(connection_id, owner, *row) if row else None

    def _is_due(self) -> ColumnElement[bool]:
        return due.is_over(Webhook.due_at, self.clock, DUE_AHEAD_SECONDS)

    def _store(self, held: Checking, webhook: Registered) -> None:
        self._set(
            held,
            katana_id=webhook.id,
            sealed_token=self.vault.seal(webhook.token, token_place(held.connection_id)),
            state=WebhookState.ACTIVE,
            detail=None,
            failures=0,
            checked_at=self.clock.database_time(),
            **self._later(CHECK_SECONDS * jitter(0.8, 1)),
        )

    def _do_without(self, held: Checking, error: ApiForbidden | ApiRefused) -> None:
        logger.info("connection %s: no webhook, it is polled: %s", held.connection_id, error)
        plain = not self.base_url.startswith("https:")
        refused = Detail.NOT_HTTPS if plain else Detail.REFUSED
        self._set(
            held,
            state=WebhookState.UNAVAILABLE,
            detail=Detail.FORBIDDEN if isinstance(error, ApiForbidden) else refused,
            checked_at=self.clock.database_time(),
            **self._later(CHECK_SECONDS * jitter(0.8, 1)),
        )

    def _put_off(self, held: Checking, seconds: float, failures: int) -> None:
        self._set(held, failures=failures, **self._later(seconds * jitter(1, 1.2)))

    def _later(self, seconds: float) -> dict[str, object]:
        return {"due_at": self.clock.database_time(seconds), **NO_LEASE}

    def _set(self, held: Checking, **values: object) -> None:
        """Raises LeaseLost."""
        this_one = Webhook.connection_id == held.connection_id, Webhook.lease_owner == held.owner
        with self.engine.begin() as database:
            if not database.execute(update(Webhook).where(*this_one).values(values)).rowcount:
                raise LeaseLost
