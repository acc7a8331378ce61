"""Callers of the real refresh code that run one step at a time, under control of a test.

A step ends before each statement to the database, before the request to Katana, after its response,
and before a wait. Between steps a caller can be left asleep, or killed. For the code this is like a
crash, because nothing after that point runs.
"""

import threading
from collections.abc import Callable
from typing import Any

from app.connections.leases import Lease, Leases, Snapshot
from app.connections.models import EventKind, Reason
from app.connections.refresh import Refresh
from app.connections.sealed_grant import SealedGrant
from app.errors import ConnectError
from app.katana.oauth import Grant, KatanaLogin
from tests.support.clocks import HeldClock
from tests.support.connected import Connected

STEP_SECONDS = 30


class Killed(BaseException):
    """Ends a caller at its current step. No `except` of the app catches it."""


class Holder:
    """One caller of fresh_access_token(), in a thread that runs only while step() waits for it."""

    def __init__(self, connected: Connected, refused: str | None = None) -> None:
        self.at = "start"
        self.token: str | None = None
        self.error: ConnectError | None = None
        self.wakes: float = 0
        self.refused = refused
        #: For the test: how many changes it has seen, and whether it slept through some.
        self.changes = 0
        self.overslept = False
        self._connected = connected
        self._connection_id = connected.id
        self._killed = False
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.at == "done"

    def step(self) -> None:
        """Let it run to the end of its next step."""
        if self.at == "asleep":
            clock = self._clock
            clock.move(max(0, self.wakes - clock.monotonic()))
        self._go.release()
        assert self._back.acquire(timeout=STEP_SECONDS), f"stuck at {self.at}"

    def kill(self) -> None:
        """Stop it for ever."""
        self._killed = True
        self._go.release()
        self._thread.join(STEP_SECONDS)
        assert not self._thread.is_alive(), f"does not die at {self.at}"
        self.at = "done"

    def pause(self, at: str) -> None:
        """Called by the running code: a step has ended."""
        self.at = at
        self._back.release()
        self._go.acquire()
        if self._killed:
            raise Killed

    @property
    def _clock(self) -> HeldClock:
        clock = self._connected.clock
        assert isinstance(clock, HeldClock)
        return clock

    def _run(self) -> None:
        self._go.acquire()
        if self._killed:
            return

        try:
            self.token = self._refresh().fresh_access_token(self._connection_id, self.refused)
        except ConnectError as error:
            self.error = error
        except Killed:
            return
        self.at = "done"
        self._back.release()

    def _refresh(self) -> Refresh:
        parts = self._connected.parts(SteppingLeases)
        leases, clock = parts.leases, SteppingClock(self, self._clock)
        assert isinstance(leases, SteppingLeases)
        leases.pause = self.pause
        login = SteppingLogin(parts.login.settings)
        login.pause = self.pause
        return Refresh(leases, parts.refusal_breaker, login, parts.vault, clock)


class SteppingLeases(Leases):
    """The real statements. A step ends before each important one."""

    pause: Callable[[str], None]

    def claim(self, seen: Snapshot, owner: str | None = None) -> Lease | None:
        self.pause("claim")
        return super().claim(seen, owner)

    def save(self, lease: Lease, sealed: SealedGrant, **how: Any) -> bool:
        self.pause("save")
        return super().save(lease, sealed, **how)

    def release_after_failure(self, lease: Lease, pause: float, **how: Any) -> bool:
        self.pause("give back")
        return super().release_after_failure(lease, pause, **how)

    def end(self, lease: Lease, reason: Reason) -> bool:
        self.pause("end")
        return super().end(lease, reason)

    def record(self, lease: Lease, kind: EventKind, detail: str | None = None) -> None:
        self.pause("record")
        super().record(lease, kind, detail)


class SteppingLogin(KatanaLogin):
    """The real login. A step ends before each request and after each response."""

    pause: Callable[[str], None]

    def refresh(self, refresh_token: str, *how: Any) -> Grant:
        self.pause("send")
        grant = super().refresh(refresh_token)
        self.pause("answered")
        return grant


class SteppingClock:
    """The held clock that all share. A wait is a step."""

    def __init__(self, holder: Holder, clock: HeldClock) -> None:
        self._holder = holder
        self._clock = clock
        self.database_time = clock.database_time
        self.monotonic = clock.monotonic

    def sleep(self, seconds: float) -> None:
        self._holder.wakes = self._clock.monotonic() + seconds
        self._holder.pause("asleep")

    def wait(self, _event: threading.Event, seconds: float) -> None:
        self.sleep(seconds)
