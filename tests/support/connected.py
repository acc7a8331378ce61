"""A connected user without a browser: the grant is from the sandbox, the row is real."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from flask import Flask
from sqlalchemy import select, update

from app.accounts.models import User
from app.connections import sealed_grant
from app.connections.circuit_breaker import RefusalBreaker
from app.connections.leases import Leases
from app.connections.lifecycle import Lifecycle
from app.connections.models import Connection, ConnectionEvent, EventKind
from app.connections.refresh import Refresh
from app.connections.vault import Vault
from app.database.clock import Clock, SystemClock
from app.database.db import db
from app.katana.oauth import KatanaLogin, new_code_verifier
from app.settings.config import Settings, load
from tests.support.sandbox import Family, Sandbox


@dataclass(frozen=True)
class Parts:
    """The parts of a refresh. A test may replace some."""

    leases: Leases
    refusal_breaker: RefusalBreaker
    login: KatanaLogin
    vault: Vault
    clock: Clock


class Connected:
    """A user with a connection, and access to everything that is stored about it."""

    def __init__(
        self,
        app: Flask,
        sandbox: Sandbox,
        environ: dict[str, str],
        name: str = "ada",
        clock: Clock | None = None,
        factory: str | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.app = app
        self.sandbox = sandbox
        self.settings: Settings = load(environ)
        self.user_id = self._sign_up(name)
        self.id: UUID = self.connect(factory)
        self.family_id = max(family.id for family in sandbox.ledger().families)

    def reconnect(self, factory: str | None = None) -> None:
        """Connect again, to the factory with this key."""
        self.connect(factory, state=f"state-{len(self.sandbox.ledger().families)}")
        self.family_id = max(family.id for family in self.sandbox.ledger().families)

    def connect(self, factory: str | None = None, state: str = "state") -> UUID:
        """Approve on the consent page, exchange the code, store the grant."""
        login = KatanaLogin(self.settings.katana)
        verifier = new_code_verifier()
        callback = self.sandbox.approve(login.authorization_url("state", verifier), factory=factory)
        (code,) = parse_qs(urlsplit(callback.url).query)["code"]
        grant = login.exchange(code, verifier)
        with self.app.app_context():
            stored = Lifecycle(login, self.vault, self.clock).connect(self.user_id, grant, state)
        return stored.connection_id

    def disconnect(self) -> None:
        """Disconnect, as a user does."""
        with self.app.app_context():
            login = KatanaLogin(self.settings.katana)
            Lifecycle(login, self.vault, self.clock).disconnect(self.user_id)

    @property
    def vault(self) -> Vault:
        return Vault(self.settings.token_keys)

    def parts(self, leases: type[Leases] = Leases) -> Parts:
        """The real parts, on this app's database."""
        login = KatanaLogin(self.settings.katana)
        with self.app.app_context():
            return Parts(
                leases(db.engine, self.clock),
                RefusalBreaker(db.engine, self.clock),
                login,
                self.vault,
                self.clock,
            )

    def row(self) -> Connection:
        """The stored connection."""
        with self.app.app_context():
            row = db.session.get(Connection, self.id)
            assert row, "the connection is gone"
            db.session.expunge(row)
            return row

    def change(self, **columns: Any) -> None:
        """Set columns of the row. A number for a time is seconds from the database's now."""
        values = {
            name: self.clock.database_time(value) if isinstance(value, int | float) else value
            for name, value in columns.items()
        }
        with self.app.app_context():
            db.session.execute(update(Connection).where(Connection.id == self.id).values(**values))
            db.session.commit()

    def expire(self) -> None:
        """Let the access token expire, here and at Katana."""
        self.change(expires_at=-1, renew_at=-1)
        self.sandbox.expire(self.family_id)

    def stored_refresh_token(self) -> str:
        """The refresh token in the row, opened."""
        place = sealed_grant.refresh_token_aad(self.id, self.user_id)
        return self.vault.open(self.row().sealed_refresh_token, place)

    def stored_access_token(self) -> str:
        """The access token in the row, opened."""
        place = sealed_grant.access_token_aad(self.id, self.user_id)
        return self.vault.open(self.row().sealed_access_token, place)

    def stored_fingerprint(self) -> str:
        """The fingerprint of the stored refresh token in the sandbox's ledger."""
        return fingerprint(self.stored_refresh_token())

    def holds_the_living_token(self) -> bool:
        """Whether the stored refresh token is the newest one, and Katana would accept it."""
        stored = self.stored_fingerprint()
        current = [t.fingerprint for t in self.family().refresh_tokens if t.state == "current"]
        return current[-1:] == [stored]

    def history(self) -> list[tuple[EventKind, str | None]]:
        """The events, oldest first."""
        with self.app.app_context():
            events = db.session.scalars(
                select(ConnectionEvent)
                .where(ConnectionEvent.user_id == self.user_id)
                .order_by(ConnectionEvent.id)
            )
            return [(event.kind, event.detail) for event in events]

    def family(self) -> Family:
        """The sandbox's record of this connection's grant."""
        (family,) = [f for f in self.sandbox.ledger().families if f.id == self.family_id]
        return family

    def refreshes(self) -> int:
        """The number of refresh requests in the sandbox's record."""
        return len(self.sandbox.ledger().of("refresh"))

    def _sign_up(self, name: str) -> int:
        with self.app.app_context():
            user = User(
                email=f"{name}@workshop.example", password_hash="", created_at=datetime.now(UTC)
            )
            db.session.add(user)
            db.session.commit()
            return user.id


MakeConnected = Callable[..., Connected]


def fingerprint(token: str) -> str:
    """The fingerprint of a token in the sandbox's ledger."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def refresh(parts: Parts) -> Refresh:
    """A Refresh with these parts."""
    return Refresh(parts.leases, parts.refusal_breaker, parts.login, parts.vault, parts.clock)
