"""What it means to be connected.

A connection is in one of two states, or is not there:

    (nothing) --connect--> active --Katana ended the grant--> reconnect_needed
        ^                    |  ^                                  |    |
        |                    |  +------------- connect ------------+    |
        +---- disconnect ----+-------------- disconnect ----------------+

Being refreshed is no state: a state says what is true, a lease says who is at work. A worker that
dies at work leaves a lease that runs out, and nothing to repair.

The transaction rule: each use case ends with one commit, and views never commit. No transaction is
open while a request is on the wire. `refresh.py` goes further: each of its statements is a
transaction of its own, on connections of its own, so that what a caller has open is neither seen
nor committed.

`attempts.py` begins and consumes an attempt, `lifecycle.py` connects and disconnects, `refresh.py`
gives fresh access tokens, `vault.py` seals them, `events.py` tells what happened, `upkeep.py` is
for all connections at once. Nothing in here knows of requests, browser sessions, URLs or HTML.
"""

from dataclasses import dataclass
from pathlib import Path

from flask import Flask, current_app
from sqlalchemy import Engine

from app.connections.attempts import Attempts
from app.connections.fleet.upkeep import Upkeep
from app.connections.incidents import Incidents
from app.connections.leases import Leases, lease_seconds
from app.connections.lifecycle import Lifecycle
from app.connections.refresh import Refresh
from app.connections.staged import StagedResponses
from app.connections.vault import Vault
from app.database.clock import Clock, SystemClock
from app.katana.bulkheads import UNLIMITED, Bulkheads
from app.katana.oauth import KatanaLogin
from app.settings.config import Settings


@dataclass(frozen=True)
class Connections:
    """The parts, put together for one app."""

    login: KatanaLogin
    vault: Vault
    attempts: Attempts
    lifecycle: Lifecycle
    refresh: Refresh
    staged: StagedResponses
    upkeep: Upkeep
    bulkheads: Bulkheads


def build(
    settings: Settings,
    engine: Engine,
    folder: Path,
    clock: Clock | None = None,
    bulkheads: Bulkheads = UNLIMITED,
) -> Connections:
    """The parts on this database, with this Katana; `folder` takes what cannot be saved yet."""
    clock = clock or SystemClock()
    login, vault = KatanaLogin(settings.katana), Vault(settings.token_keys)
    leases = Leases(engine, clock, lease_seconds(settings.katana.rotation_overlap_seconds))
    incidents = Incidents(engine, clock)
    staged = StagedResponses(folder, settings.database_url)
    refresh = Refresh(leases, incidents, login, vault, clock, staged, bulkheads)
    return Connections(
        login=login,
        vault=vault,
        attempts=Attempts(vault, clock),
        lifecycle=Lifecycle(login, vault, clock, bulkheads),
        refresh=refresh,
        staged=staged,
        upkeep=Upkeep.of(engine, clock, leases, incidents, refresh, vault),
        bulkheads=bulkheads,
    )


def init_app(app: Flask, built: Connections) -> None:
    """Let `current()` find them while `app` is at work."""
    app.extensions["connections"] = built


def current() -> Connections:
    """The connections of the current app."""
    built: Connections = current_app.extensions["connections"]
    return built
