"""Connect, disconnect, store the Katana account's name, delete the user. One commit each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.connections import history
from app.connections.attempts import hash_of
from app.connections.history import Event
from app.connections.host import UserId, db, user_key
from app.connections.models import Connection, ConnectionEvent, EventKind, Status
from app.connections.sealed_grant import refresh_token_aad, seal
from app.connections.staged_responses import StagedResponses, remove
from app.connections.vault import Vault
from app.database.clock import Clock
from app.errors import KatanaSaturated, LoginError, NotConnected, SealBroken
from app.katana.bulkheads import UNLIMITED, Bulkheads
from app.katana.oauth import Grant, KatanaLogin

NAME_CHARACTERS = 200
STORE_ATTEMPTS = 5  # one fails only if another tab connects or disconnects at the same time


class Revocation(StrEnum):
    """What happened to the grant at Katana when the user disconnected."""

    REVOKED = "revoked"
    NOT_OFFERED = "not_offered"
    FAILED = "failed"


@dataclass(frozen=True)
class Connected:
    """A grant that was stored."""

    connection_id: UUID
    #: The hash of the attempt's `state`.
    connected_by: str
    #: The name of the Katana account that was connected before, if any.
    previous_factory: str | None


@dataclass(frozen=True)
class Renewals:
    """How often a connection was refreshed, as read at the time `at`."""

    count: int
    last: datetime
    at: datetime

    @property
    def seconds_ago(self) -> float:
        """Seconds since the last refresh."""
        return max(0.0, (self.at - self.last).total_seconds())


class Lifecycle:
    """Begins and ends connections."""

    def __init__(
        self,
        login: KatanaLogin,
        vault: Vault,
        clock: Clock,
        bulkheads: Bulkheads = UNLIMITED,
        staged: StagedResponses | None = None,
    ) -> None:
        self._bulkheads = bulkheads
        self._staged = staged
        self._login = login
        self._vault = vault
        self._clock = clock

    def connect(self, user_id: UserId, grant: Grant, state: str) -> Connected:
        """Store the grant of the attempt with `state`; it replaces any earlier one.

        The earlier grant is not used again. It is not revoked at Katana: that could end the user's
        consent, and the new grant with it.

        Raises NotConnected if the user was deleted meanwhile; the new grant is then revoked. It is
        not revoked after a database error, because the commit may have succeeded.
        """
        connected = self._store_with_retry(user_id, grant, state)
        history.announce(
            Event(
                EventKind.CONNECTED,
                user_id,
                connected.connection_id,
                duration_seconds=grant.response_seconds,
            )
        )
        return connected

    def disconnect(self, user_id: UserId) -> Revocation | None:
        """Revoke the grant if Katana supports it, then delete its tokens; None if not connected.

        The tokens are deleted even if Katana does not confirm. A refresh in flight then finds no
        row to save to. If one saved a newer token during the revocation, that token is revoked too.
        A grant that was stored meanwhile by another connect stays.
        """
        connection = find(user_id)
        connected_by = connection.connected_by if connection else None
        if connection:
            connection_id = connection.id
            db.session.rollback()  # no transaction during the receivers' requests to Katana
            history.announce_disconnecting(user_id, connection_id)
            connection = find(user_id)
        while connection and connection.connected_by == connected_by:
            connection_id, generation = connection.id, connection.generation
            sealed = connection.sealed_refresh_token
            db.session.rollback()  # no transaction during the request to Katana
            revocation = self._revoke(connection_id, user_id, sealed)
            if self._delete(connection_id, generation, user_id, revocation):
                return revocation

            connection = find(user_id)
        db.session.rollback()
        return None

    def leave(self, user_id: UserId, erase: Callable[[UserId], None]) -> Revocation | None:
        """Disconnect, then delete the user by calling `erase`, which must not commit.

        A callback may connect in between. If its grant were deleted with the user, it would stay
        valid at Katana. So the user's row is locked, and a new connection is disconnected first.
        """
        ended = None
        while True:
            self._remove_staged(user_id)
            ended = self.disconnect(user_id) or ended
            db.session.execute(select(user_key).where(user_key == user_id).with_for_update())
            # SQLite has no row locks: there this DELETE takes the write lock.
            its_history = ConnectionEvent.user_id == user_id
            db.session.execute(delete(ConnectionEvent).where(its_history))
            if find(user_id) is None:
                erase(user_id)
                db.session.commit()
                return ended

            db.session.rollback()

    def renewals(self, user_id: UserId) -> Renewals | None:
        """How often the user's connection was refreshed; None without a connection."""
        counted = select(
            Connection.renewals, Connection.refreshed_at, self._clock.database_time()
        ).where(Connection.user_id == user_id)
        row = db.session.execute(counted).first()
        return Renewals(*row) if row else None

    def name_factory(self, connection_id: UUID, connected_by: str, name: str) -> None:
        """Store the name of the Katana account, if the grant of `connected_by` is still stored."""
        this_one = (Connection.id == connection_id) & (Connection.connected_by == connected_by)
        connection = update(Connection).where(this_one)
        db.session.execute(connection.values(factory_name=name[:NAME_CHARACTERS]))
        db.session.commit()

    def _remove_staged(self, user_id: UserId) -> None:
        """Delete staged responses. Without the history, nothing shows that they are obsolete."""
        connection = find(user_id)
        connection_id = connection.id if connection else None
        db.session.rollback()
        if self._staged and connection_id:
            for response in self._staged.waiting(connection_id):
                remove(response.path)

    def _store_with_retry(self, user_id: UserId, grant: Grant, state: str) -> Connected:
        for _ in range(STORE_ATTEMPTS):
            try:
                return self._store(user_id, grant, state)
            except (IntegrityError, NotConnected):
                # Another tab has just connected or disconnected, or the user was deleted.
                db.session.rollback()
        connected = find(user_id) is not None
        db.session.rollback()  # no transaction during the request to Katana
        if not connected:
            self._login.withdraw(grant)
        raise NotConnected("the grant could not be stored: its user was deleted")

    def _store(self, user_id: UserId, grant: Grant, state: str) -> Connected:
        earlier = find(user_id)
        connection_id = earlier.id if earlier else uuid4()
        connected = Connected(
            connection_id, hash_of(state), earlier.factory_name if earlier else None
        )
        sealed = seal(self._vault, grant, connection_id, user_id)
        values = {
            "sealed_access_token": sealed.access_token,
            "sealed_refresh_token": sealed.refresh_token,
            "scope": sealed.scope,
            "expires_at": self._clock.database_time(sealed.usable_for),
            "renew_at": self._clock.database_time(sealed.renew_in),
            "refreshed_at": self._clock.database_time(),
            "connected_at": self._clock.database_time(),
            "factory_name": None,  # another account may have been connected
            **_reset_columns(connected.connected_by),
        }
        if earlier is None:
            new = insert(Connection).values(
                id=connection_id, user_id=user_id, generation=1, **values
            )
            db.session.execute(new)
        else:
            # With a higher generation and fence, a refresh of the earlier grant cannot be saved.
            renewed = (
                update(Connection)
                .where(Connection.id == connection_id)
                .values(generation=Connection.generation + 1, fence=Connection.fence + 1, **values)
                .returning(Connection.id)
            )
            if db.session.scalar(renewed) is None:
                raise NotConnected

        self._record(user_id, connection_id, EventKind.CONNECTED)
        db.session.commit()
        return connected

    def _delete(
        self, connection_id: UUID, generation: int, user_id: UserId, revocation: Revocation
    ) -> bool:
        this_one = (Connection.id == connection_id) & (Connection.generation == generation)
        deletion = delete(Connection).where(this_one).returning(Connection.id)
        if db.session.scalar(deletion) is None:
            db.session.rollback()
            return False

        self._record(user_id, connection_id, EventKind.DISCONNECTED, revocation)
        db.session.commit()
        history.announce(Event(EventKind.DISCONNECTED, user_id, connection_id, revocation))
        return True

    def _record(
        self, user_id: UserId, connection_id: UUID, kind: EventKind, detail: str | None = None
    ) -> None:
        entry = history.values(user_id, connection_id, kind, detail)
        db.session.execute(history.entry(self._clock), entry)
        db.session.execute(history.trim(), {"this_user": user_id})

    def _revoke(self, connection_id: UUID, user_id: UserId, sealed: bytes) -> Revocation:
        if self._login.settings.revoke_url is None:
            return Revocation.NOT_OFFERED

        try:
            token = self._vault.open(sealed, refresh_token_aad(connection_id, user_id))
            with self._bulkheads.callbacks.slot():
                self._login.revoke(token)
        except (KatanaSaturated, LoginError, SealBroken):
            return Revocation.FAILED
        return Revocation.REVOKED


def find(user_id: UserId) -> Connection | None:
    """The user's connection, or None."""
    return db.session.scalar(select(Connection).where(Connection.user_id == user_id))


def finished(user_id: UserId, state: str) -> bool:
    """Whether the attempt with this state created the connection: the callback is repeated."""
    this_one = (Connection.user_id == user_id) & (Connection.connected_by == hash_of(state))
    return db.session.scalar(select(Connection.id).where(this_one)) is not None


def _reset_columns(connected_by: str) -> Mapping[str, Any]:
    return {
        "status": Status.ACTIVE,
        "reason": None,
        "connected_by": connected_by,
        "parent_generation": None,
        "lease_owner": None,
        "lease_until": None,
        "sent_at": None,
        "doubtful_since": None,
        "refused_at": None,
        "next_attempt_at": None,
        "failures": 0,
        "failing_since": None,
        "renewals": 0,
    }
