"""The refresh protocol: single-flight refresh of a single-use token, across processes and hosts.

Katana spends a refresh token at its first use, and revokes the whole grant when a spent token comes
again. So each token is sent once. In the order of the code:

1. *Use* the stored access token while it is valid: one SELECT, no lock. Near its end, a caller that
   gets the lease refreshes ahead; if that fails, it returns the current token.
2. *Claim* the lease: one committed UPDATE that only one caller can match. It returns the token to
   send, and shows that the database accepts writes before the token is spent. If the lease of
   another holder has expired, that holder may be waiting for the database with a response in hand:
   the caller waits longer than the longest interval between two saves, and claims again.
3. *Send* right after the claim, with no transaction open; not at all if the process was suspended
   since. The response may take until the lease nearly ends.
4. *Save* as the next statement after the response: compare-and-swap on the generation that was
   sent, ordered by fencing token. The process holds the only copy of the new tokens, so the save is
   retried until the database accepts it (`saving.py`).
5. *Decide* after a failure (`outcomes.py`): only a confirmed refusal of the token ends a
   connection. Every other failure starts a back-off that all processes share.
6. *Wait*, without the lease: until the generation changes, for a limited time.

All shared state is in the row, so a crash needs no repair. docs/refresh-protocol.md has the columns
and what a crash at each step leaves.

Timestamps are the database's. Durations are measured on a monotonic clock.
"""

import logging
from contextlib import AbstractContextManager, nullcontext
from math import inf
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.connections.backoff import (
    BROKEN_SEAL_SECONDS,
    PATIENCE_SECONDS,
    PROBE_SECONDS,
    RARE_LOOK_SECONDS,
    REFUSED_SECONDS,
    SETTLE_SECONDS,
    TAKEOVER_SECONDS,
    WORTH_WAITING_SECONDS,
    before_next_look,
    grown,
    jitter,
)
from app.connections.circuit_breaker import RefusalBreaker
from app.connections.leases import Lease, Leases, Snapshot
from app.connections.models import EventKind, Reason, Status
from app.connections.outcomes import FOR_HOURS_SECONDS, Decision, RefreshOutcome, decide
from app.connections.saving import Saving
from app.connections.sealed_grant import access_place, refresh_place
from app.connections.single_flight import SingleFlight
from app.connections.staged_responses import StagedResponses
from app.connections.vault import Vault
from app.database.clock import Clock
from app.errors import (
    FailingAlone,
    FreshTokenRefused,
    GrantRefused,
    KatanaSaturated,
    LoginError,
    NotConnected,
    ReconnectNeeded,
    SealBroken,
    TryAgainLater,
)
from app.katana.bulkheads import UNLIMITED, Bulkheads
from app.katana.oauth import KatanaLogin

SENDS = 2  # by one caller: the second confirms a refusal, or repeats a request without a response
SEND_SHARE = 1 / 6  # of the lease, from the claim until the request has left
SAVE_SECONDS = 5  # of the lease, for the statement after the response
#: If the API refuses a token younger than this, a newer one would not help. Longer than the longest
#: back-off, so that the back-off keeps growing.
FRESH_SECONDS = 900
NOT_SENT = (False, None)

logger = logging.getLogger(__name__)


class Refresh:
    """Gives access tokens, and refreshes them."""

    def __init__(
        self,
        leases: Leases,
        breaker: RefusalBreaker,
        login: KatanaLogin,
        vault: Vault,
        clock: Clock,
        staged: StagedResponses | None = None,
        bulkheads: Bulkheads = UNLIMITED,
    ) -> None:
        #: How long after its claim a holder may send, and how long the response may then take.
        self.send_before_seconds = leases.lease_seconds * SEND_SHARE
        self.answer_seconds = leases.lease_seconds - self.send_before_seconds - SAVE_SECONDS
        self._leases = leases
        self._breaker = breaker
        self._login = login
        self._vault = vault
        self._clock = clock
        self._saving = Saving(leases, login, vault, clock, staged)
        self._bulkheads = bulkheads
        self._single_flight = SingleFlight(clock)

    def fresh_access_token(self, connection_id: UUID, refused: str | None = None) -> str:
        """An access token that is valid as far as is known.

        `refused` is a token that Katana's API answered with 401: it is refreshed although it has
        not expired, once for all callers that had it. Raises NotConnected, ReconnectNeeded,
        TryAgainLater (with `retry_after` in seconds) or SealBroken.
        """
        try:
            return self._fresh_access_token(connection_id, refused)
        finally:
            self._single_flight.notify(connection_id)

    def _fresh_access_token(self, connection_id: UUID, refused: str | None) -> str:
        until = self._clock.monotonic() + PATIENCE_SECONDS
        sends = looks = 0
        while True:
            looked = self._clock.monotonic()
            seen = self._look(connection_id)
            token = self._usable(seen, refused)
            if token and seen.due:
                token = self._renewed_ahead(seen) or token
                if self._clock.monotonic() > looked + seen.left:
                    continue  # it took longer than the token was to live
            if token:
                return token

            still_good = refused is not None and seen.alive  # for us, and refused by the API
            sent, token = self._attempt(seen, still_good=still_good) if sends < SENDS else NOT_SENT
            if not sent:
                self._wait(seen, until, looks, sends, still_good=still_good)
                looks += 1
                continue

            sends += 1
            if token:
                return token

    def token_in_hand(self, connection_id: UUID) -> str | None:
        """The stored access token while it is good; Katana is not asked, and nothing renewed."""
        seen = self._leases.read(connection_id)
        active = seen is not None and seen.status is Status.ACTIVE
        return self._usable(seen, None) if seen and active else None

    def renew(self, seen: Snapshot) -> bool:
        """Refresh a connection whether its token has expired or not; True if this call did it.

        Does not wait, and sends at most once. If False, the row says why. Raises SealBroken.
        """
        _, token = self._attempt(seen)
        return token is not None

    def store_staged(self) -> int:
        """Store the staged responses of this host; returns how many."""
        return self._saving.store_staged()

    def _attempt(self, seen: Snapshot, *, still_good: bool = False) -> tuple[bool, str | None]:
        """Whether a lease was claimed, and the new token. Raises KatanaSaturated before a claim."""
        if seen.leased or seen.pausing:
            return NOT_SENT

        with self._single_flight.enter(seen.id) as entered:
            if not entered:
                return NOT_SENT

            with self._bulkheads.refreshes.place() as visit:
                lease = self._claim(seen) if self._breaker.allows_request() else None
                if lease is None:
                    return NOT_SENT

                token = self._renew(lease, still_good=still_good)
                visit.failed = token is None
                return True, token

    def _renewed_ahead(self, seen: Snapshot) -> str | None:
        """A newer token; None if that fails: the current one is still valid."""
        try:
            return self._attempt(seen)[1]
        except KatanaSaturated:
            return None
        except (DBAPIError, PoolTimeout, SealBroken):
            logger.exception("connection %s: not renewed ahead of its end", seen.id)
            return None

    def _look(self, connection_id: UUID) -> Snapshot:
        seen = self._leases.read(connection_id)
        if seen is None:
            raise NotConnected

        if seen.status is Status.RECONNECT_NEEDED:
            raise ReconnectNeeded(seen.reason or Reason.GRANT_ENDED)

        return seen

    def _usable(self, seen: Snapshot, refused: str | None) -> str | None:
        if not seen.alive:
            return None

        place = access_place(seen.id, seen.user_id)
        token = self._vault.open(seen.sealed_access_token, place)
        return token if token != refused else None

    def _claim(self, seen: Snapshot) -> Lease | None:
        lease = self._leases.claim(seen)
        if lease is None or not lease.took_over:
            return lease

        self._clock.sleep(TAKEOVER_SECONDS)
        self._saving.store_staged(seen.id)
        again = self._leases.claim(seen, lease.owner)
        if again is None:
            self._leases.release_unused(lease)
        return again

    def _renew(self, lease: Lease, *, still_good: bool = False) -> str | None:
        """The new access token; None if there is none, and the row says why."""
        refresh_token = self._open(lease)
        send_before = lease.claimed + self.send_before_seconds
        if self._clock.monotonic() > send_before:
            logger.warning(
                "connection %s: suspended for too long after its claim: nothing sent",
                lease.connection_id,
            )
            self._leases.release_unused(lease)
            return None

        try:
            grant = self._login.refresh(refresh_token, send_before, self.answer_seconds)
        except LoginError as error:
            self._fail(lease, error)
            return None

        failed = grant.access_token is None or (still_good and lease.token_age < FRESH_SECONDS)
        failures = lease.failures + 1 if failed else 0
        pause = grown(lease.failures) if failed else REFUSED_SECONDS if still_good else 0
        if not self._saving.save(lease, grant, pause=pause, failures=failures):
            return None

        if grant.access_token is None:
            self._leases.record(lease, EventKind.REFRESH_FAILED, RefreshOutcome.NO_ACCESS_TOKEN)
        else:
            recovered = RefreshOutcome.RECOVERED if lease.doubtful else None
            self._leases.record(lease, EventKind.REFRESHED, recovered)
        return grant.access_token

    def _open(self, lease: Lease) -> str:
        place = refresh_place(lease.connection_id, lease.user_id)
        try:
            return self._vault.open(lease.sealed_refresh_token, place)
        except SealBroken:
            # A wrong key says nothing about the grant: with the right key the token decrypts.
            if self._leases.release_after_failure(lease, BROKEN_SEAL_SECONDS, spent=False):
                self._leases.record(lease, EventKind.REFRESH_FAILED, RefreshOutcome.SEAL_BROKEN)
            raise

    def _fail(self, lease: Lease, error: LoginError) -> None:
        decision = decide(
            error,
            lease,
            circuit_open=isinstance(error, GrantRefused) and self._breaker.is_open(),
            others_renewed=lease.failing_for > 0
            and self._breaker.others_renewed(lease.connection_id, lease.failing_since),
        )
        if decision.alarm:
            logger.error("%s: check KATANA_CLIENT_ID and KATANA_CLIENT_SECRET", error)
        if decision.outcome is RefreshOutcome.INCIDENT:
            logger.error("Katana refuses many connections in a row: none is ended, all pause")
        if decision.ends:
            self._end(lease, decision.ends)
        else:
            self._back_off(lease, decision)

    def _end(self, lease: Lease, reason: Reason) -> None:
        if self._leases.mark_reconnect_needed(lease, reason):
            self._leases.record(lease, EventKind.RECONNECT_NEEDED, reason)
        else:
            self._lost_the_race(lease)

    def _back_off(self, lease: Lease, decision: Decision) -> None:
        pause = decision.pause * jitter(1, decision.spread)
        if self._leases.release_after_failure(
            lease, pause, spent=decision.spent, refused=decision.refused
        ):
            self._leases.record(lease, EventKind.REFRESH_FAILED, decision.outcome)
        elif decision.refused:
            self._lost_the_race(lease)

    def _lost_the_race(self, lease: Lease) -> None:
        # Another holder saved meanwhile, and ours was a second use of its token: mark the stored
        # token as possibly spent, so that the next caller finds out whether the grant is alive.
        if self._leases.release_after_failure(lease, 0, spent=True):
            self._leases.record(lease, EventKind.REFRESH_FAILED, RefreshOutcome.OVERTAKEN)

    def _wait(
        self, seen: Snapshot, until: float, looks: int, sends: int, *, still_good: bool
    ) -> None:
        """Wait until the row may have changed. Raises TryAgainLater if that would take too long."""
        if seen.working > PATIENCE_SECONDS:
            # The holder is slow or dead: waiting would block a thread.
            raise TryAgainLater(seen.blocked)

        left = until - self._clock.monotonic()
        pausing = seen.pausing.total_seconds()
        if left <= 0 or pausing > WORTH_WAITING_SECONDS or (sends >= SENDS and not seen.leased):
            raise self._unavailable(seen, still_good=still_good)(pausing or SETTLE_SECONDS)
        # After the first read another caller may be about to claim the lease.
        if looks and not seen.leased and not pausing and not self._breaker.allows_request():
            raise TryAgainLater(PROBE_SECONDS)

        often, rarely = before_next_look(looks), RARE_LOOK_SECONDS
        with self._patience(seen, pausing) as most:
            self._single_flight.wait(
                seen.id, min(most, max(pausing, often)), min(most, max(pausing, rarely))
            )

    def _patience(self, seen: Snapshot, pausing: float) -> AbstractContextManager[float]:
        """The longest wait in seconds, within a bulkhead while Katana does not respond."""
        if pausing and not seen.failing:
            return nullcontext(inf)  # Katana responds, and the end of the back-off is known

        return self._bulkheads.others_refreshes.waiting(max(seen.working, pausing))

    def _unavailable(self, seen: Snapshot, *, still_good: bool) -> type[TryAgainLater]:
        if still_good and seen.token_age < FRESH_SECONDS and not seen.failing:
            return FreshTokenRefused
        for_hours = seen.failing_for >= FOR_HOURS_SECONDS
        if for_hours and self._breaker.others_renewed(seen.id, seen.failing_since):
            return FailingAlone
        return TryAgainLater
