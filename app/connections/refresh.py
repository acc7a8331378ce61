"""The refresh protocol: single-flight refresh of a single-use token, across processes and hosts.

A refresh token works once. If it is sent again, Katana revokes the whole grant. So each token is
sent once, and again only if no new token came back. The steps, in the order of the code:

1. *Use* the stored access token while it is valid: one SELECT, no lock. Near its expiry, the caller
   that gets the lease refreshes early; if that fails, it returns the current token.
2. *Claim* the lease: one committed UPDATE that only one caller can match. It returns the token to
   send, and proves that the database accepts writes before the token is spent. If the lease of
   another holder has expired, that holder may have a response that the database does not accept
   yet. So the caller waits longer than the longest interval between two saves, and claims again.
3. *Send* right after the claim, with no transaction open; not at all if the process has been
   suspended since the claim. The response may take almost as long as the lease.
4. *Save* as the next statement after the response: compare-and-swap on the generation that was
   sent, ordered by fencing token. The process holds the only copy of the new tokens, so the save is
   retried until the database accepts it (`saving.py`).
5. *Decide* after a failure (`outcomes.py`): only a confirmed refusal of the token ends a
   connection. Every other failure starts a back-off that all processes share.
6. *Wait* if another caller has the lease: until the generation changes, for a limited time.

All shared state is in the row, so a crash needs no repair. docs/refresh-protocol.md describes the
columns, and the state after a crash at each step. Timestamps are the database's. Durations are
measured on a monotonic clock.
"""

import logging
from contextlib import AbstractContextManager, nullcontext
from math import inf
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.connections.backoff import (
    BROKEN_SEAL_SECONDS,
    FALLBACK_POLL_SECONDS,
    PATIENCE_SECONDS,
    PROBE_SECONDS,
    SETTLE_SECONDS,
    SHORT_BACK_OFF_SECONDS,
    TAKEOVER_SECONDS,
    jitter,
    poll_interval,
)
from app.connections.circuit_breaker import RefusalBreaker
from app.connections.leases import Lease, Leases, Snapshot
from app.connections.models import EventKind, Reason, Status
from app.connections.outcomes import (
    FAILING_ALONE_SECONDS,
    FRESH_SECONDS,
    Decision,
    RefreshOutcome,
    after_response,
    decide,
)
from app.connections.saving import Saving
from app.connections.sealed_grant import access_token_aad, refresh_token_aad
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

#: Requests by one caller. The second confirms a refusal, or repeats one that got no response.
MAX_SENDS = 2
SEND_SHARE = 1 / 6  # the part of the lease in which the request must be sent
SAVE_SECONDS = 5  # the part of the lease that is reserved for the save
NOT_CLAIMED = (False, None)

logger = logging.getLogger(__name__)


class Refresh:
    """Returns valid access tokens, and refreshes them when needed."""

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
        #: The request is sent within this time after the claim ...
        self.send_before_seconds = leases.lease_seconds * SEND_SHARE
        #: ... and its response may take this long.
        self.response_seconds = leases.lease_seconds - self.send_before_seconds - SAVE_SECONDS
        self._leases = leases
        self._breaker = breaker
        self._login = login
        self._vault = vault
        self._clock = clock
        self._saving = Saving(leases, login, vault, clock, staged)
        self._bulkheads = bulkheads
        self._single_flight = SingleFlight(clock)

    def fresh_access_token(self, connection_id: UUID, refused: str | None = None) -> str:
        """A valid access token; refreshes it first if needed.

        `refused` is a token that Katana's API refused with a 401. It is refreshed although it has
        not expired, once for all callers that used it. Raises NotConnected, ReconnectNeeded,
        TryAgainLater (with `retry_after` in seconds) or SealBroken.
        """
        try:
            return self._fresh_access_token(connection_id, refused)
        finally:
            self._single_flight.notify(connection_id)

    def _fresh_access_token(self, connection_id: UUID, refused: str | None) -> str:
        give_up_at = self._clock.monotonic() + PATIENCE_SECONDS
        sends = waits = 0
        while True:
            read_at = self._clock.monotonic()
            snapshot = self._read(connection_id)
            token = self._valid_token(snapshot, refused)
            if token and snapshot.should_refresh:
                token = self._refresh_ahead(snapshot) or token
                if self._clock.monotonic() > read_at + snapshot.token_valid_for:
                    continue  # the token has expired in the meantime
            if token:
                return token

            # The access token has not expired, but the API refuses it.
            refused_by_api = refused is not None and snapshot.token_is_valid
            claimed, token = NOT_CLAIMED
            if sends < MAX_SENDS:
                claimed, token = self._claim_and_refresh(snapshot, refused_by_api=refused_by_api)
            if not claimed:
                self._wait(snapshot, give_up_at, waits, sends, refused_by_api=refused_by_api)
                waits += 1
                continue

            sends += 1
            if token:
                return token

    def stored_access_token(self, connection_id: UUID) -> str | None:
        """The stored access token if it is valid. Sends no request and refreshes nothing."""
        snapshot = self._leases.read(connection_id)
        active = snapshot is not None and snapshot.status is Status.ACTIVE
        return self._valid_token(snapshot, None) if snapshot and active else None

    def try_refresh(self, snapshot: Snapshot) -> bool:
        """Refresh a connection even if its access token is valid; True if this call did so.

        Does not wait, and sends at most one request. After False, the row shows the reason.
        Raises SealBroken.
        """
        _, token = self._claim_and_refresh(snapshot)
        return token is not None

    def store_staged(self) -> int:
        """Store the staged responses of this host; returns how many."""
        return self._saving.store_staged()

    def _claim_and_refresh(
        self, snapshot: Snapshot, *, refused_by_api: bool = False
    ) -> tuple[bool, str | None]:
        """Whether the lease was claimed, and the new access token; None if the refresh failed.

        Raises KatanaSaturated before the claim.
        """
        if snapshot.is_leased or snapshot.back_off_left:
            return NOT_CLAIMED

        with self._single_flight.enter(snapshot.id) as entered:
            if not entered:
                return NOT_CLAIMED

            with self._bulkheads.refreshes.slot() as slot:
                lease = self._claim(snapshot) if self._breaker.allows_request() else None
                if lease is None:
                    return NOT_CLAIMED

                token = self._send_and_save(lease, refused_by_api=refused_by_api)
                slot.failed = token is None
                return True, token

    def _refresh_ahead(self, snapshot: Snapshot) -> str | None:
        """A new access token; None if the refresh fails: the current token is still valid."""
        try:
            return self._claim_and_refresh(snapshot)[1]
        except KatanaSaturated:
            return None
        except (DBAPIError, PoolTimeout, SealBroken):
            logger.exception("connection %s: could not be refreshed ahead of expiry", snapshot.id)
            return None

    def _read(self, connection_id: UUID) -> Snapshot:
        snapshot = self._leases.read(connection_id)
        if snapshot is None:
            raise NotConnected

        if snapshot.status is Status.RECONNECT_NEEDED:
            raise ReconnectNeeded(snapshot.reason or Reason.GRANT_ENDED)

        return snapshot

    def _valid_token(self, snapshot: Snapshot, refused: str | None) -> str | None:
        if not snapshot.token_is_valid:
            return None

        aad = access_token_aad(snapshot.id, snapshot.user_id)
        token = self._vault.open(snapshot.sealed_access_token, aad)
        return token if token != refused else None

    def _claim(self, snapshot: Snapshot) -> Lease | None:
        lease = self._leases.claim(snapshot)
        if lease is None or not lease.took_over:
            return lease

        self._clock.sleep(TAKEOVER_SECONDS)
        self._saving.store_staged(snapshot.id)
        again = self._leases.claim(snapshot, lease.owner)
        if again is None:
            self._leases.release_unused(lease)
        return again

    def _send_and_save(self, lease: Lease, *, refused_by_api: bool = False) -> str | None:
        """The new access token; None if the refresh failed, which is then recorded in the row."""
        refresh_token = self._open_refresh_token(lease)
        send_before = lease.claimed + self.send_before_seconds
        if self._clock.monotonic() > send_before:
            logger.warning(
                "connection %s: the process was suspended after the claim, refresh not sent",
                lease.connection_id,
            )
            self._leases.release_unused(lease)
            return None

        try:
            grant = self._login.refresh(refresh_token, send_before, self.response_seconds)
        except LoginError as error:
            self._handle_failure(lease, error)
            return None

        failures, pause = after_response(grant, lease, refused_by_api=refused_by_api)
        if not self._saving.save(lease, grant, pause=pause, failures=failures):
            return None

        if grant.access_token is None:
            self._leases.record(lease, EventKind.REFRESH_FAILED, RefreshOutcome.NO_ACCESS_TOKEN)
        else:
            recovered = RefreshOutcome.RECOVERED if lease.possibly_spent else None
            self._leases.record(lease, EventKind.REFRESHED, recovered)
        return grant.access_token

    def _open_refresh_token(self, lease: Lease) -> str:
        aad = refresh_token_aad(lease.connection_id, lease.user_id)
        try:
            return self._vault.open(lease.sealed_refresh_token, aad)
        except SealBroken:
            # The grant is not ended: the key may be wrong, and the token valid.
            if self._leases.release_after_failure(lease, BROKEN_SEAL_SECONDS, possibly_spent=False):
                self._leases.record(lease, EventKind.REFRESH_FAILED, RefreshOutcome.SEAL_BROKEN)
            raise

    def _handle_failure(self, lease: Lease, error: LoginError) -> None:
        decision = decide(
            error,
            lease,
            circuit_open=isinstance(error, GrantRefused) and self._breaker.is_open(),
            others_renewed=lease.failing_for > 0
            and self._breaker.others_renewed(lease.connection_id, lease.failing_since),
        )
        if decision.check_client:
            logger.error("%s: check KATANA_CLIENT_ID and KATANA_CLIENT_SECRET", error)
        if decision.outcome is RefreshOutcome.INCIDENT:
            logger.error("Katana refuses many connections in a row: none is ended, all back off")
        if decision.end_reason:
            self._end_connection(lease, decision.end_reason)
        else:
            self._back_off(lease, decision)

    def _end_connection(self, lease: Lease, reason: Reason) -> None:
        if self._leases.mark_reconnect_needed(lease, reason):
            self._leases.record(lease, EventKind.RECONNECT_NEEDED, reason)
        else:
            self._handle_overtaken(lease)

    def _back_off(self, lease: Lease, decision: Decision) -> None:
        pause = decision.pause * jitter(1, decision.spread)
        if self._leases.release_after_failure(
            lease, pause, possibly_spent=decision.possibly_spent, refused=decision.refused
        ):
            self._leases.record(lease, EventKind.REFRESH_FAILED, decision.outcome)
        elif decision.refused:
            self._handle_overtaken(lease)

    def _handle_overtaken(self, lease: Lease) -> None:
        # Another holder sent the same refresh token and saved newer tokens. This caller used it a
        # second time, so Katana may have revoked the grant. `sent_at` stays set, so the next caller
        # refreshes.
        if self._leases.release_after_failure(lease, 0, possibly_spent=True):
            self._leases.record(lease, EventKind.REFRESH_FAILED, RefreshOutcome.OVERTAKEN)

    def _wait(
        self, snapshot: Snapshot, give_up_at: float, waits: int, sends: int, *, refused_by_api: bool
    ) -> None:
        """Wait until the row may have changed. Raises TryAgainLater if that takes too long."""
        if snapshot.leased_for > PATIENCE_SECONDS:
            # The holder is slow or has died: do not block this thread any longer.
            raise TryAgainLater(snapshot.lease_left)

        left = give_up_at - self._clock.monotonic()
        back_off, is_leased = snapshot.back_off_left, snapshot.is_leased
        no_sends_left = sends >= MAX_SENDS and not is_leased
        if left <= 0 or back_off > SHORT_BACK_OFF_SECONDS or no_sends_left:
            error_class = self._error_class(snapshot, refused_by_api=refused_by_api)
            raise error_class(back_off or SETTLE_SECONDS)

        # Checked only after the first wait: another caller may be about to claim the lease.
        if waits and not is_leased and not back_off and not self._breaker.allows_request():
            raise TryAgainLater(PROBE_SECONDS)

        poll, fallback = poll_interval(waits), FALLBACK_POLL_SECONDS
        with self._wait_limit(snapshot, back_off) as limit:
            self._single_flight.wait(
                snapshot.id, min(limit, max(back_off, poll)), min(limit, max(back_off, fallback))
            )

    def _wait_limit(self, snapshot: Snapshot, back_off: float) -> AbstractContextManager[float]:
        """The longest wait in seconds. A wait for Katana's response is limited by a bulkhead."""
        if back_off and not snapshot.is_failing:
            return nullcontext(inf)  # a short back-off after a success: its end is known

        return self._bulkheads.others_refreshes.waiting(max(snapshot.leased_for, back_off))

    def _error_class(self, snapshot: Snapshot, *, refused_by_api: bool) -> type[TryAgainLater]:
        if refused_by_api and snapshot.token_age < FRESH_SECONDS and not snapshot.is_failing:
            return FreshTokenRefused
        failing_long = snapshot.failing_for >= FAILING_ALONE_SECONDS
        if failing_long and self._breaker.others_renewed(snapshot.id, snapshot.failing_since):
            return FailingAlone
        return TryAgainLater
