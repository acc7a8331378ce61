"""What one running sandbox knows: its one client, and everything that starting again forgets."""

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
    """The one application that is registered here."""

    id: str
    secret: str = field(repr=False)
    redirect_uri: str
    audience: str
    #: A file with who has signed the certificate of its webhooks' address; None: a public one.
    authority: str | None = None

    def is_named(self, client_id: str) -> bool:
        """Return whether this is the client's id."""
        return hmac.compare_digest(client_id.encode(), self.id.encode())

    def is_proven_by(self, client_id: str, client_secret: str) -> bool:
        """Return whether these are the client's id and secret; takes as long for any guess."""
        right_secret = hmac.compare_digest(client_secret.encode(), self.secret.encode())
        return self.is_named(client_id) and right_secret


class Memory:
    """Everything that `start again` forgets."""

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
    """One stand-in for Katana; requests under way keep the memory they began with."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self.client = client
        self.clock = clock
        self.memory = Memory(clock, client.authority)

    def start_again(self) -> None:
        """Forget every family, code, request, fault, changed rule and changed record."""
        self.memory.sender.close()
        self.memory = Memory(self.clock, self.client.authority)


def sandbox() -> Sandbox:
    """Return the sandbox that the current request came to."""
    return cast(Sandbox, current_app.extensions["sandbox"])


def memory() -> Memory:
    """Return what the current request may read and change."""
    return sandbox().memory
