"""The core: connect a user to Katana, keep the connection alive, end it.

A connection is in one of two states, or does not exist:

    (nothing) --connect--> active --Katana ended the grant--> reconnect_needed
        ^                    |  ^                                  |    |
        |                    |  +------------- connect ------------+    |
        +---- disconnect ----+-------------- disconnect ----------------+

A refresh in progress is not a state: it is a lease on the row. If its holder dies, the lease
expires and nothing needs repair.

The transaction rule: each use case ends with one commit, and views never commit. No transaction is
open during a request to Katana. In `refresh.py` each statement is a transaction of its own, on a
database connection of its own, so it does not touch a transaction of the caller.

    attempts.py          begin an attempt to connect, and use it once
    lifecycle.py         connect, disconnect, delete the user
    refresh.py           the refresh protocol, from top to bottom
      leases.py            read, claim, save and release the row
      lease_statements.py  its SQL statements
      outcomes.py          what to do after a failed refresh
      backoff.py           how long to wait
      saving.py            save a token response: retry until the database accepts it
      staged_responses.py  keep the response in a file until then
      single_flight.py     one thread of a process refreshes, the others wait
      circuit_breaker.py   detect an outage at Katana
    vault.py             encrypt and decrypt
    sealed_grant.py      a token response, encrypted for its row
    history.py           events: a history row, a log line, a signal
    models.py            the tables
    host.py              the interface to the application: database session, users, browser sessions
    start_up.py          before the first request: test the keys, store staged responses
    fleet/               all connections at once: overview, keep-alive, restore, key rotation

Nothing in this package uses Flask's request or session, URLs of this app, or HTML.
"""

from collections.abc import Sequence
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
from app.credentials import KatanaSettings, TokenKey
from app.database.clock import Clock, SystemClock
from app.katana.bulkheads import UNLIMITED, Bulkheads
from app.katana.oauth import KatanaLogin


@dataclass(frozen=True)
class Connections:
    """The services of this package, built for one app."""

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
    katana: KatanaSettings,
    token_keys: Sequence[TokenKey],
    engine: Engine,
    folder: Path,
    clock: Clock | None = None,
    bulkheads: Bulkheads = UNLIMITED,
) -> Connections:
    """Build the services on `engine`. `folder` is where responses are staged."""
    clock = clock or SystemClock()
    login, vault = KatanaLogin(katana), Vault(token_keys)
    leases = Leases(engine, clock, lease_seconds(katana.rotation_overlap_seconds))
    breaker = RefusalBreaker(engine, clock)
    idle, sealed = Idle(engine, clock), SealedTokens(engine)
    overview = Overview(engine, clock)
    staged = StagedResponses(folder, engine.url.render_as_string(hide_password=False))
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
    """Register `built` in this app, so that `current()` returns it."""
    app.extensions["connections"] = built


def current() -> Connections:
    """The services of the current app."""
    built: Connections = current_app.extensions["connections"]
    return built
