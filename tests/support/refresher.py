"""A process that requests fresh access tokens: many at once, or one that a signal hits.

Started as `python -m tests.support.refresher` with the app's settings in its environment and a
task, as JSON, on its standard input. It prints "ready" when it is. Each further line starts a
round: all its threads request a token at once, each prints the token or a failure as a line of
JSON, then it prints "done". A round may name the access token that Katana's API has refused.
"""

import json
import os
import signal
import sys
import threading
from typing import Any
from uuid import UUID

from app import create_app
from app.connections.circuit_breaker import RefusalBreaker
from app.connections.leases import Lease, Leases, Snapshot
from app.connections.refresh import Refresh
from app.connections.sealed_grant import SealedGrant
from app.connections.vault import Vault
from app.database.clock import SystemClock
from app.database.db import db
from app.errors import AnswerLost, ConnectError
from app.katana.oauth import Grant, KatanaLogin
from app.settings.config import load

#: Where a signal can hit a process, in the order of a refresh.
STEPS = (
    "after_claim",
    "before_send",
    "after_send",
    "after_answer",
    "before_commit",
    "after_commit",
)


class Strike:
    """Sends this process a signal when it reaches a step, once."""

    def __init__(self, step: str | None, signal_number: int) -> None:
        self.step = step
        self.signal_number = signal_number

    def at(self, step: str) -> None:
        """Send the signal, if this is the step."""
        if step == self.step:
            self.step = None
            say({"struck": step})
            # To this thread, so that it cannot run beyond the step.
            signal.pthread_kill(threading.get_ident(), self.signal_number)


class StruckLeases(Leases):
    """The real statements, with steps before and after them."""

    strike: Strike

    def claim(self, seen: Snapshot, owner: str | None = None) -> Lease | None:
        lease = super().claim(seen, owner)
        if lease:
            self.strike.at("after_claim")
        return lease

    def save(self, lease: Lease, sealed: SealedGrant, **how: Any) -> bool:
        self.strike.at("before_commit")
        saved = super().save(lease, sealed, **how)
        self.strike.at("after_commit")
        return saved


class StruckLogin(KatanaLogin):
    """The real login, with steps before and after each request.

    At "after_send" Katana has processed the request and the response is lost: the sandbox is told
    to lose it.
    """

    strike: Strike

    def refresh(self, refresh_token: str, *how: Any) -> Grant:
        self.strike.at("before_send")
        try:
            grant = super().refresh(refresh_token, *how)
        except AnswerLost:
            self.strike.at("after_send")
            raise
        self.strike.at("after_answer")
        return grant


def main() -> None:
    """Run the task."""
    task = json.loads(sys.stdin.readline())
    refresh = _refresh(task)
    say({"ready": True})
    for line in sys.stdin:
        _round(refresh, UUID(task["connection_id"]), task.get("threads", 1), **json.loads(line))
        say({"done": True})


def say(said: dict[str, Any]) -> None:
    """Print a line in one write, because other threads print too."""
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def _refresh(task: dict[str, Any]) -> Refresh:
    settings, clock = load(os.environ), SystemClock()
    strike = Strike(task.get("step"), getattr(signal, task.get("signal", "SIGKILL")))
    with create_app(os.environ).app_context():
        leases, incidents = StruckLeases(db.engine, clock), RefusalBreaker(db.engine, clock)
    login = StruckLogin(settings.katana)
    leases.strike = login.strike = strike
    refresh = Refresh(leases, incidents, login, Vault(settings.token_keys), clock)
    refresh.send_before_seconds = task.get("send_before_seconds", refresh.send_before_seconds)
    return refresh


def _round(refresh: Refresh, connection_id: UUID, threads: int, refused: str | None = None) -> None:
    barrier = threading.Barrier(threads)

    def ask() -> None:
        barrier.wait()
        try:
            said = {"token": refresh.fresh_access_token(connection_id, refused)}
        except ConnectError as error:
            said = {"error": type(error).__name__}
        with _printing:
            say(said)

    asking = [threading.Thread(target=ask) for _ in range(threads)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()


_printing = threading.Lock()

if __name__ == "__main__":
    main()
