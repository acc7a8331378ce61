"""Give a fresh access token: one exchange however many ask, none lost through our fault.

Katana spends a refresh token at its first use, and ends the whole grant when a spent one comes
again. So one token is sent once, whoever asks, on whatever host, and however they crash. In the
order of the code:

1. *Use* the stored access token while it is good: one SELECT, no lock. Near its end whoever comes
   by renews it, and goes on with the old one where that fails.
2. *Claim* the lease before sending: one committed UPDATE whose WHERE only one caller can meet. It
   also proves that the database can be written, before the token is spent.
3. *Read again* under the lease: only what is read now is sent.
4. *Send* with no transaction open, within a deadline that ends before the lease does, and not at
   all where the claim lies too far back: a process that slept meanwhile must not send.
5. *Save* as the very next statement after the answer, by compare-and-swap on the generation that
   was sent, ordered by fence. The new tokens exist only here now, so saving goes on until the
   database takes them.
6. *Judge* a failure by what it says of the token: not spent, perhaps spent, or refused. Only a
   refusal that is confirmed ends a connection. Everything else makes a pause that all workers
   share.
7. *Wait*, for those without the lease: until the generation moves, and not too long. A holder
   that takes longer than any refresh is not waited for at all.

What one caller leaves for the next stands in the row, so a caller that dies anywhere leaves
nothing to repair: its lease runs out, `sent_at` says that the token may be spent, and the next
caller sends it once more. If it was not spent, or Katana grants an overlap, the connection lives
on. If it was, nobody could have saved it.

Moments are the database's. Durations in this process are on a clock that no one can set.
"""

import logging
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.connections import events, grants, orphans
from app.connections.alone import Alone
from app.connections.events import Event
from app.connections.incidents import PROBE_SECONDS, Incidents
from app.connections.leases import Leases
from app.connections.models import EventKind, Reason, Status
from app.connections.pauses import (
    BROKEN_SEAL_SECONDS,
    PATIENCE_SECONDS,
    RARE_LOOK_SECONDS,
    REFUSED_SECONDS,
    SETTLE_SECONDS,
    WORTH_WAITING_SECONDS,
    after,
    before_next_look,
    before_next_save,
    grown,
    jitter,
)
from app.connections.seen import Held, Lease, Seen
from app.connections.vault import Vault
from app.connections.waiting import Waiting
from app.database.clock import Clock
from app.errors import (
    AnswerLost,
    ClientRefused,
    GrantRefused,
    LoginError,
    NotConnected,
    ReconnectNeeded,
    SealBroken,
    TryAgainLater,
)
from app.katana.oauth import ANSWER_SECONDS, Grant, KatanaLogin

SENDS = 2  # by one caller: the second confirms a refusal, or repeats a send in doubt
SAVE_SECONDS = 5  # of the lease, for the statement after the answer

logger = logging.getLogger(__name__)


class Refresh:
    """Gives access tokens, and renews them."""

    def __init__(
        self,
        leases: Leases,
        incidents: Incidents,
        login: KatanaLogin,
        vault: Vault,
        clock: Clock,
    ) -> None:
        #: How long after its claim a holder may send: the answer must come, and be saved, in time.
        self.send_before_seconds = leases.lease_seconds - ANSWER_SECONDS - SAVE_SECONDS
        self._leases = leases
        self._incidents = incidents
        self._login = login
        self._vault = vault
        self._clock = clock
        self._claiming = Alone()
        self._waiting = Waiting(clock)

    def fresh_access_token(self, connection_id: UUID, refused: str | None = None) -> str:
        """An access token that is good as far as we know.

        `refused` is the token that Katana's API answered 401 to: it is renewed however long it was
        to live, once for all that had it. Raises NotConnected, ReconnectNeeded, TryAgainLater
        (nothing is lost; it holds seconds to wait) or SealBroken.
        """
        try:
            return self._fresh_access_token(connection_id, refused)
        finally:
            self._waiting.wake(connection_id)

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

            lease = self._claim(seen) if sends < SENDS else None
            if lease is None:
                self._wait(seen, until, looks, sends)
                looks += 1
                continue

            sends += 1
            token = self._renew(lease, paced=refused is not None)
            if token:
                return token

    def renew(self, seen: Seen) -> bool:
        """Renew what was seen, however long its token is to live; whether that was done here.

        It waits for nobody and sends once at most: where it was not done, the row says why, and
        what comes next. Raises SealBroken.
        """
        lease = self._claim(seen)
        return lease is not None and self._renew(lease, paced=False) is not None

    def _renewed_ahead(self, seen: Seen) -> str | None:
        """A newer token; None where that does not go well, which nobody has to notice yet."""
        try:
            lease = self._claim(seen)
            return self._renew(lease, paced=False) if lease else None
        except (DBAPIError, PoolTimeout, SealBroken):
            logger.exception("connection %s: not renewed ahead of its end", seen.id)
            return None

    def _look(self, connection_id: UUID) -> Seen:
        seen = self._leases.look(connection_id)
        if seen is None:
            raise NotConnected

        if seen.status is Status.RECONNECT_NEEDED:
            raise ReconnectNeeded(seen.reason or Reason.GRANT_ENDED)

        return seen

    def _usable(self, seen: Seen, refused: str | None) -> str | None:
        if not seen.alive:
            return None

        place = grants.access_place(seen.id, seen.user_id)
        token = self._vault.open(seen.sealed_access_token, place)
        return token if token != refused else None

    def _claim(self, seen: Seen) -> Lease | None:
        if seen.leased or seen.pausing:
            return None

        with self._claiming.at(seen.id) as alone:
            return self._leases.claim(seen) if alone and self._incidents.may_send() else None

    def _renew(self, lease: Lease, *, paced: bool) -> str | None:
        """The new access token; None where the row now says what to do instead."""
        held = self._leases.read(lease)
        if held is None:
            self._leases.step_aside(lease)
            return None

        refresh_token = self._open(lease, held)
        send_before = lease.claimed + self.send_before_seconds
        if self._clock.monotonic() > send_before:
            logger.warning("connection %s: woke up too late to send", lease.connection_id)
            self._leases.step_aside(lease)
            return None

        try:
            grant = self._login.refresh(refresh_token, send_before)
        except LoginError as error:
            self._judge(lease, held, error)
            return None

        if grant.access_token is None:
            return self._save(
                lease, held, grant, pause=grown(held.failures), failures=held.failures + 1
            )

        return self._save(lease, held, grant, pause=REFUSED_SECONDS if paced else 0)

    def _open(self, lease: Lease, held: Held) -> str:
        place = grants.refresh_place(lease.connection_id, lease.user_id)
        try:
            return self._vault.open(held.sealed_refresh_token, place)
        except SealBroken:
            # A wrong key says nothing of the grant: with the right one it will open.
            if self._leases.give_back(lease, held, BROKEN_SEAL_SECONDS, spent=False):
                self._tell(lease, EventKind.REFRESH_FAILED, "seal_broken")
            raise

    def _save(
        self, lease: Lease, held: Held, grant: Grant, *, pause: float, failures: int = 0
    ) -> str | None:
        if not self._stored(lease, held, grant, pause, failures):
            self._let_go(lease, held, grant)
            return None

        if grant.access_token is None:
            self._tell(lease, EventKind.REFRESH_FAILED, "no_access_token")
        else:
            self._tell(lease, EventKind.REFRESHED, "recovered" if held.doubtful else None)
        return grant.access_token

    def _stored(self, lease: Lease, held: Held, grant: Grant, pause: float, failures: int) -> bool:
        """Whether the row took it. This is the only copy of a living token: there is no last try.

        A worker that is asked to stop finishes its requests first (`graceful_timeout`).
        """
        answered = self._clock.monotonic()
        tries = 0
        while True:
            age = self._clock.monotonic() - answered
            columns = grants.columns(
                self._vault, self._clock, grant, lease.connection_id, lease.user_id, age
            )
            try:
                # The first try is the statement right after the answer: nothing comes in between.
                return self._leases.save(
                    lease, held, columns, pause=pause, failures=failures
                ) or self._leases.saved(lease, held)
            except (DBAPIError, PoolTimeout):
                logger.exception("connection %s: not saved yet, trying on", lease.connection_id)
                self._clock.sleep(before_next_save(tries))
                tries += 1

    def _let_go(self, lease: Lease, held: Held, grant: Grant) -> None:
        """Somebody disconnected, reconnected, or stored a newer answer while ours was coming."""
        if self._leases.connected(lease.user_id):
            # Not revoked: that could end the grant that this user's connection now lives on.
            self._leases.leave_in_doubt(lease, held)
            return

        orphans.withdraw(self._login, grant)

    def _judge(self, lease: Lease, held: Held, error: LoginError) -> None:
        if isinstance(error, GrantRefused):
            self._judge_refusal(lease, held)
            return

        if isinstance(error, ClientRefused):
            logger.error("%s: check KATANA_CLIENT_ID and KATANA_CLIENT_SECRET", error)
        # Only a lost answer leaves a doubt: every other error says that the token was not taken.
        lost = isinstance(error, AnswerLost)
        if self._leases.give_back(
            lease, held, after(error, failures=held.failures, doubtful=held.doubtful), spent=lost
        ):
            self._tell(lease, EventKind.REFRESH_FAILED, _word(error))

    def _judge_refusal(self, lease: Lease, held: Held) -> None:
        if held.doubtful:
            self._clock.sleep(SETTLE_SECONDS)  # whoever has the lost answer may save it now
        seen = self._leases.look(lease.connection_id)
        if seen is None or seen.generation != lease.generation:
            self._overtaken(lease, held)
            return

        if self._incidents.under_way():
            logger.error("Katana refuses many connections in a row: none is ended, all pause")
            self._refused(lease, held, PROBE_SECONDS * jitter(1, 2), "incident")
            return

        # The one answer that was lost is settled by the one repeat. After more trouble than that,
        # the refusal may be part of it, and is asked about once more like any other.
        if held.refused_before or (held.doubtful and held.failures <= 1):
            reason = Reason.ANSWER_LOST if held.doubtful else Reason.GRANT_ENDED
            if self._leases.end(lease, reason):
                self._tell(lease, EventKind.RECONNECT_NEEDED, reason)
            else:
                self._overtaken(lease, held)
            return

        self._refused(lease, held, SETTLE_SECONDS, _word(GrantRefused()))

    def _refused(self, lease: Lease, held: Held, pause: float, why: str) -> None:
        if self._leases.give_back(lease, held, pause, spent=False, refused=True):
            self._tell(lease, EventKind.REFRESH_FAILED, why)
        else:
            self._overtaken(lease, held)

    def _overtaken(self, lease: Lease, held: Held) -> None:
        # It was saved, and ours was a second use of its token: leave the doubt, so that the next
        # caller finds out at once whether the grant still lives.
        if self._leases.give_back(lease, held, 0, spent=True):
            self._tell(lease, EventKind.REFRESH_FAILED, "overtaken")

    def _tell(self, lease: Lease, kind: EventKind, detail: str | None = None) -> None:
        """For the history; the connection is right without it."""
        try:
            self._leases.record(lease, kind, detail)
        except (DBAPIError, PoolTimeout):
            logger.exception("connection %s: its history lacks: %s", lease.connection_id, kind)
        seconds = self._clock.monotonic() - lease.claimed
        events.announce(
            Event(kind, lease.user_id, lease.connection_id, detail, seconds, lease.took_over)
        )

    def _wait(self, seen: Seen, until: float, looks: int, sends: int) -> None:
        if seen.working > PATIENCE_SECONDS:
            # The holder must have died. Who waited here would hold up a thread for nothing.
            raise TryAgainLater(seen.blocked)

        left = until - self._clock.monotonic()
        pausing = seen.pausing.total_seconds()
        if left <= 0 or pausing > WORTH_WAITING_SECONDS or (sends >= SENDS and not seen.leased):
            raise TryAgainLater(pausing or SETTLE_SECONDS)
        # At the first look somebody may just be about to hold the lease.
        if looks and not seen.leased and not pausing and not self._incidents.may_send():
            raise TryAgainLater(PROBE_SECONDS)

        often, rarely = before_next_look(looks), RARE_LOOK_SECONDS
        self._waiting.wait(seen.id, max(pausing, often), max(pausing, rarely))


def _word(error: LoginError) -> str:
    """`AnswerLost` as `answer_lost`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in type(error).__name__).lstrip("_")
