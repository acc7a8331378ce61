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

    attempts.py          begin an attempt to connect, and use it once
    lifecycle.py         connect, disconnect, leave
    refresh.py           the refresh protocol, from top to bottom
      leases.py            read, claim, save and release the row
      lease_statements.py  the SQL of it
      outcomes.py          what to do after a failed refresh
      backoff.py           how long to wait
      saving.py            save a token response until the database has it
      staged_responses.py  a token response in a file, meanwhile
      single_flight.py     one thread of a process asks, the others wait
      circuit_breaker.py   many failures in a row are an outage at Katana
    vault.py             encrypt and decrypt
    sealed_grant.py      a token response, encrypted for its row
    history.py           what happened: a row, a log line, a signal
    models.py            the tables
    host.py              what it takes from the application around it: session, users, browsers
    start_up.py          before the first request: try the keys, store staged responses
    fleet/               all connections at once: overview, keep-alive, restore, key rotation

Nothing in here knows of requests, browser sessions, URLs or HTML.
"""

from dataclasses import dataclass
from pathlib import Path

from flask import Flask, current_app
from sqlalchemy import Engine

from app.connections.attempts import Attempts
from app.connections.circuit_breaker import RefusalBreaker
from app.connections.fleet.keep_alive import Idle, KeepAlive
from app.connections.fleet.key_rotation import KeyRotation, SealedTokens
from app.connections.fleet.overview import Counts, Overview
from app.connections.fleet.restore import Restore
from app.connections.leases import Leases, lease_seconds
from app.connections.lifecycle import Lifecycle
from app.connections.refresh import Refresh
from app.connections.staged_responses import StagedResponses
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
    refusal_breaker: RefusalBreaker
    bulkheads: Bulkheads
    # For all connections at once.
    overview: Overview
    counts: Counts
    idle: Idle
    keep_alive: KeepAlive
    restore: Restore
    sealed_tokens: SealedTokens
    key_rotation: KeyRotation


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
    breaker = RefusalBreaker(engine, clock)
    idle, sealed = Idle(engine, clock), SealedTokens(engine)
    overview = Overview(engine, clock)
    staged = StagedResponses(folder, settings.database_url)
    refresh = Refresh(leases, breaker, login, vault, clock, staged, bulkheads)
    return Connections(
        login=login,
        vault=vault,
        attempts=Attempts(vault, clock),
        lifecycle=Lifecycle(login, vault, clock, bulkheads, staged),
        refresh=refresh,
        staged=staged,
        refusal_breaker=breaker,
        bulkheads=bulkheads,
        overview=overview,
        counts=Counts(engine, clock, overview),
        idle=idle,
        keep_alive=KeepAlive(leases, idle, refresh, clock),
        restore=Restore(engine, idle, clock),
        sealed_tokens=sealed,
        key_rotation=KeyRotation(engine, sealed, vault),
    )


def init_app(app: Flask, built: Connections) -> None:
    """Let `current()` find them while `app` is at work."""
    app.extensions["connections"] = built


def current() -> Connections:
    """The connections of the current app."""
    built: Connections = current_app.extensions["connections"]
    return built
