"""The state of a sandbox: its client, and the memory that a reset clears."""

import hmac
from dataclasses import dataclass, field
from typing import cast

from flask import current_app

from sandbox.clock import Clock, iso
from sandbox.consents import Consents
from sandbox.deliveries import Deliveries
from sandbox.factory_simulation import Life
from sandbox.families import Families
from sandbox.faults import Faults
from sandbox.ledger import Ledger
from sandbox.limits import Limits
from sandbox.mailbox import Mailbox
from sandbox.scheduled_changes import Schedule
from sandbox.seed_factories import FACTORIES
from sandbox.sender import Sender
from sandbox.switches import Rules
from sandbox.webhooks import Webhooks


@dataclass(frozen=True)
class Client:
    """The only registered OAuth client."""

    id: str
    secret: str = field(repr=False)
    redirect_uri: str
    audience: str
    #: A file with the CA certificate of its webhooks' URLs; None: the public CAs.
    authority: str | None = None

    def is_named(self, client_id: str) -> bool:
        """Return whether this is the client's id."""
        return hmac.compare_digest(client_id.encode(), self.id.encode())

    def is_proven_by(self, client_id: str, client_secret: str) -> bool:
        """Return whether these are the client's id and secret, in constant time."""
        right_secret = hmac.compare_digest(client_secret.encode(), self.secret.encode())
        return self.is_named(client_id) and right_secret


class Memory:
    """Everything that `start_again` clears."""

    def __init__(self, clock: Clock, authority: str | None = None) -> None:
        self.clock = clock
        self.rules = Rules()
        self.faults = Faults()
        self.ledger = Ledger()
        self.consents = Consents(clock.now)
        self.families = Families(clock.now)
        self.limits = Limits(clock.now)
        self.lives = {factory.key: Life(factory, clock.now()) for factory in FACTORIES}
        self.schedule = Schedule()
        self.webhooks = Webhooks(clock.now)
        self.deliveries = Deliveries()
        self.mailbox = Mailbox(lambda: iso(clock.now()))
        self.exports: dict[str, str] = {}
        self.sender = Sender(clock, lambda: self.rules, self.webhooks, self.deliveries, authority)


class Sandbox:
    """One sandbox. A reset replaces its memory."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self.client = client
        self.clock = clock
        self.memory = Memory(clock, client.authority)

    def start_again(self) -> None:
        """Drop every family, code, request, fault, changed rule and changed record."""
        self.memory.sender.close()
        self.memory = Memory(self.clock, self.client.authority)


def sandbox() -> Sandbox:
    """Return the sandbox of the current request."""
    return cast(Sandbox, current_app.extensions["sandbox"])


def memory() -> Memory:
    """Return the memory of the current request's sandbox."""
    return sandbox().memory
