"""Save a token response: retry until the database accepts it, and stage it in a file until then."""

import logging
from uuid import UUID

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.connections.backoff import save_interval
from app.connections.leases import Lease, Leases
from app.connections.models import EventKind
from app.connections.outcomes import RefreshOutcome
from app.connections.sealed_grant import seal
from app.connections.staged_responses import StagedResponse, StagedResponses, remove
from app.connections.vault import Vault
from app.database.clock import Clock
from app.errors import SealBroken
from app.katana.oauth import LONGEST_LIFETIME_SECONDS, Grant, KatanaLogin

#: The age of a staged access token is not known. With this age it counts as expired.
EXPIRED_AGE = float(LONGEST_LIFETIME_SECONDS)

logger = logging.getLogger(__name__)


class Saving:
    """Saves token responses. Each is the only copy of the next tokens."""

    def __init__(
        self,
        leases: Leases,
        login: KatanaLogin,
        vault: Vault,
        clock: Clock,
        staged: StagedResponses | None,
    ) -> None:
        self._leases = leases
        self._login = login
        self._vault = vault
        self._clock = clock
        self._staged = staged

    def save(self, lease: Lease, grant: Grant, *, pause: float = 0, failures: int = 0) -> bool:
        """Save the token response for `lease`, and start a back-off of `pause` seconds.

        False if it was discarded, because the row has another grant or newer tokens. The save is
        retried without a limit. A server process that is told to stop finishes its requests first
        (`graceful_timeout` in gunicorn.conf.py).
        """
        received_at = self._clock.monotonic()
        tries, file = 0, None
        while True:
            age = self._clock.monotonic() - received_at
            sealed = seal(self._vault, grant, lease.connection_id, lease.user_id, age)
            try:
                # The first try is the first statement after the response.
                saved = self._leases.save(
                    lease, sealed, pause=pause, failures=failures
                ) or self._leases.is_saved(lease)
            except (DBAPIError, PoolTimeout):
                if self._staged:
                    file = file or self._staged.stage(lease, sealed)
                logger.exception("connection %s: not saved yet, will retry", lease.connection_id)
                self._clock.sleep(save_interval(tries))
                tries += 1
                continue
            if file:
                remove(file)
            if not saved:
                self._discard(lease, grant)
            return saved

    def store_staged(self, connection_id: UUID | None = None) -> int:
        """Store the staged responses of this host, of one connection or of all; returns how many.

        A response that the database does not accept stays in its file.
        """
        stored = 0
        for response in self._staged.waiting(connection_id) if self._staged else ():
            try:
                stored += self._store_one_staged(response)
            except (DBAPIError, PoolTimeout, SealBroken) as error:
                kind = type(error).__name__
                logger.error("%s could not be stored yet (%s)", response.path.name, kind)
                if isinstance(error, OperationalError | PoolTimeout):
                    break  # the database is unavailable for the other files too
        return stored

    def _store_one_staged(self, response: StagedResponse) -> bool:
        grant = response.opened(self._vault)
        lease = response.lease(self._clock.monotonic())
        sealed = seal(self._vault, grant, lease.connection_id, lease.user_id, EXPIRED_AGE)
        stored = self._leases.save(lease, sealed)
        if stored:
            self._leases.record(lease, EventKind.REFRESHED, RefreshOutcome.RECOVERED)
        elif not self._leases.is_saved(lease):
            if not self._leases.knows(lease):
                logger.error("%s: this database does not have its connection", response.path.name)
                return False
            self._discard(lease, grant)
        remove(response.path)
        return stored

    def _discard(self, lease: Lease, grant: Grant) -> None:
        """Discard a response that came after a disconnect, a reconnect or a newer response."""
        if self._leases.connected(lease.user_id):
            # Do not revoke the discarded one: Katana may revoke the user's current grant with it.
            self._leases.mark_possibly_spent(lease)
            return

        self._login.withdraw(grant)
