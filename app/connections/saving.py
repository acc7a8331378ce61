"""Save a token response: retried until the database accepts it, in a file meanwhile."""

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
from app.katana.oauth import LONGEST_LIFE_SECONDS, Grant, KatanaLogin

#: The age of a staged access token is unknown: it counts as expired, and is refreshed when used.
USED_UP = float(LONGEST_LIFE_SECONDS)

logger = logging.getLogger(__name__)


class Saving:
    """Saves token responses, which are the only copies of the next tokens."""

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
        """Save the response that came for `lease`, and start a back-off of `pause` seconds.

        False if it is discarded, because the row holds another grant or newer tokens. There is no
        limit of tries. A worker that is asked to stop finishes its requests first
        (`graceful_timeout` in gunicorn.conf.py).
        """
        answered = self._clock.monotonic()
        tries, file = 0, None
        while True:
            age = self._clock.monotonic() - answered
            sealed = seal(self._vault, grant, lease.connection_id, lease.user_id, age)
            try:
                # The first try is the first statement after the response.
                saved = self._leases.save(
                    lease, sealed, pause=pause, failures=failures
                ) or self._leases.is_saved(lease)
            except (DBAPIError, PoolTimeout):
                if self._staged:
                    file = file or self._staged.stage(lease, sealed)
                logger.exception("connection %s: not saved yet, trying on", lease.connection_id)
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

        A response that the database does not accept now stays in its file.
        """
        stored = 0
        for response in self._staged.waiting(connection_id) if self._staged else ():
            try:
                stored += self._store_one_staged(response)
            except (DBAPIError, PoolTimeout, SealBroken) as error:
                kind = type(error).__name__
                logger.error("%s is not stored yet (%s)", response.path.name, kind)
                if isinstance(error, OperationalError | PoolTimeout):
                    break  # the database is away, for the other files too
        return stored

    def _store_one_staged(self, response: StagedResponse) -> bool:
        grant = response.opened(self._vault)
        lease = response.lease(self._clock.monotonic())
        sealed = seal(self._vault, grant, lease.connection_id, lease.user_id, USED_UP)
        stored = self._leases.save(lease, sealed)
        if stored:
            self._leases.record(lease, EventKind.REFRESHED, RefreshOutcome.RECOVERED)
        elif not self._leases.is_saved(lease):
            if not self._leases.knows(lease):
                logger.error("%s is of no connection of this database", response.path.name)
                return False
            self._discard(lease, grant)
        remove(response.path)
        return stored

    def _discard(self, lease: Lease, grant: Grant) -> None:
        """Discard a response that came after a disconnect, a reconnect or a newer response."""
        if self._leases.connected(lease.user_id):
            # Not revoked: Katana may revoke the user's current grant too.
            self._leases.mark_possibly_spent(lease)
            return

        self._login.withdraw(grant)
