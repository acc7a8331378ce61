"""Connect attempts: one row for each press of Connect, used once by its callback.

An attempt is a row, not a value in the cookie: an old copy of the cookie would make a used `state`
valid again. One DELETE consumes the row and returns its PKCE verifier before the code is exchanged,
so of several callbacks with the same state only one continues (RFC 9700 section 4.7, ASVS 10.2.1).

The same transaction inserts a row without a verifier, which stays until the code is exchanged: a
repeated callback waits for the result of the first one.
"""

import hashlib
import secrets
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, delete, insert, select
from sqlalchemy.exc import IntegrityError

from app.connections.host import BrowserId, db
from app.connections.models import ConnectAttempt
from app.connections.vault import AssociatedData, Vault
from app.database.clock import Clock, is_over
from app.errors import (
    AttemptElsewhere,
    AttemptExpired,
    AttemptRefused,
    AttemptUsed,
    ExchangeUnderWay,
)
from app.katana.oauth import new_code_verifier

LIFE_SECONDS = 600
MAX_PER_SESSION = 50  # per browser session; the oldest ones above that are deleted
KEPT_SECONDS = 24 * 3600  # after expiry, so that a late callback gets the right error
EXCHANGE_SECONDS = 60  # longer than any exchange of a code: after it, the process has died
POLL_SECONDS = 0.25  # between two reads by a repeated callback
CONSUMED = b""  # in the column of the verifier, while the code is exchanged


@dataclass(frozen=True)
class Attempt:
    """The state and PKCE verifier of one authorization request."""

    state: str = field(repr=False)
    code_verifier: str = field(repr=False)


class Attempts:
    """The table of attempts."""

    def __init__(self, vault: Vault, clock: Clock) -> None:
        self._vault = vault
        self._clock = clock

    def begin(self, user_session_id: BrowserId) -> Attempt:
        """A new attempt of this browser session, valid for ten minutes.

        Raises AttemptRefused if the session has just ended.
        """
        attempt = Attempt(state=secrets.token_urlsafe(32), code_verifier=new_code_verifier())
        try:
            self._store(attempt, user_session_id)
        except IntegrityError:
            db.session.rollback()
            raise AttemptRefused("the browser session ended before its attempt began") from None
        return attempt

    def consume(self, state: str, user_session_id: BrowserId) -> str:
        """Consume the attempt with this state, and return its code verifier.

        Call `finish` after the exchange of the code, also if it fails. Raises AttemptExpired,
        AttemptElsewhere, AttemptUsed or ExchangeUnderWay if this browser session cannot use the
        attempt, and SealBroken if the verifier cannot be decrypted.
        """
        state_hash = hash_of(state)
        sealed = db.session.scalar(
            delete(ConnectAttempt)
            .where(
                ConnectAttempt.state_hash == state_hash,
                ConnectAttempt.user_session_id == user_session_id,
                self._has_not_expired(LIFE_SECONDS),
                ConnectAttempt.sealed_verifier != CONSUMED,
            )
            .returning(ConnectAttempt.sealed_verifier)
        )
        if sealed is not None:
            self._insert(state_hash, user_session_id, CONSUMED, EXCHANGE_SECONDS)
        db.session.commit()
        if sealed is None:
            raise self._refusal(state, user_session_id)

        return self._vault.open(sealed, _verifier_aad(state_hash, user_session_id))

    def finish(self, state: str) -> None:
        """Delete the row of the consumed attempt: repeated callbacks stop waiting."""
        db.session.rollback()  # the exchange may have left a transaction open
        this_one = ConnectAttempt.state_hash == hash_of(state)
        consumed = ConnectAttempt.sealed_verifier == CONSUMED
        db.session.execute(delete(ConnectAttempt).where(this_one, consumed))
        db.session.commit()

    def is_under_way(self, state: str, user_session_id: BrowserId) -> bool:
        """Whether an earlier callback of this browser session is exchanging the code."""
        return isinstance(self._refusal(state, user_session_id), ExchangeUnderWay)

    def wait_for_exchange(self, state: str, user_session_id: BrowserId, seconds: float) -> None:
        """Return when no other callback is exchanging the code.

        Raises ExchangeUnderWay after `seconds`. No transaction is open while it waits.
        """
        until = self._clock.monotonic() + seconds
        while self.is_under_way(state, user_session_id):
            if self._clock.monotonic() >= until:
                raise ExchangeUnderWay("an earlier callback with this state is being completed")

            self._clock.sleep(POLL_SECONDS)

    def _refusal(self, state: str, user_session_id: BrowserId) -> AttemptRefused:
        """The error that explains why this attempt cannot be consumed."""
        found = db.session.execute(
            select(
                ConnectAttempt.user_session_id,
                ConnectAttempt.sealed_verifier,
                self._has_not_expired(EXCHANGE_SECONDS),
            ).where(ConnectAttempt.state_hash == hash_of(state))
        ).first()
        db.session.rollback()
        if found is None:
            return AttemptUsed("no attempt has this state: it was used, or its session has ended")

        began_in, sealed, lasts = found
        if began_in != user_session_id:
            return AttemptElsewhere("the attempt began in another browser session")

        if sealed != CONSUMED:
            return AttemptExpired("the attempt is too old")

        if lasts:
            return ExchangeUnderWay("an earlier callback with this state is being completed")

        return AttemptUsed("the attempt was used, and its exchange did not end")

    def _has_not_expired(self, longest: float) -> ColumnElement[bool]:
        """Not expired. A time further in the future than this app ever writes counts as expired."""
        return ~is_over(ConnectAttempt.expires_at, self._clock, 2 * longest)

    def _store(self, attempt: Attempt, user_session_id: BrowserId) -> None:
        state_hash = hash_of(attempt.state)
        self._delete_old(user_session_id)
        sealed = self._vault.seal(attempt.code_verifier, _verifier_aad(state_hash, user_session_id))
        self._insert(state_hash, user_session_id, sealed, LIFE_SECONDS)
        db.session.commit()

    def _insert(
        self, state_hash: str, user_session_id: BrowserId, sealed_verifier: bytes, seconds: float
    ) -> None:
        db.session.execute(
            insert(ConnectAttempt).values(
                state_hash=state_hash,
                user_session_id=user_session_id,
                sealed_verifier=sealed_verifier,
                created_at=self._clock.database_time(),
                expires_at=self._clock.database_time(seconds),
            )
        )

    def _delete_old(self, user_session_id: BrowserId) -> None:
        kept = (
            select(ConnectAttempt.state_hash)
            .where(ConnectAttempt.user_session_id == user_session_id)
            .order_by(ConnectAttempt.created_at.desc())
            .limit(MAX_PER_SESSION - 1)
        )
        excess = (
            ConnectAttempt.user_session_id == user_session_id
        ) & ConnectAttempt.state_hash.not_in(kept)
        db.session.execute(delete(ConnectAttempt).where(excess))
        expired = ConnectAttempt.expires_at < self._clock.database_time(-KEPT_SECONDS)
        db.session.execute(delete(ConnectAttempt).where(expired))


def hash_of(state: str) -> str:
    """SHA-256 of a state. The table has only the hash, so a reader of it learns no valid state."""
    return hashlib.sha256(state.encode()).hexdigest()


def _verifier_aad(state_hash: str, user_session_id: BrowserId) -> AssociatedData:
    return AssociatedData("connect_attempts", "sealed_verifier", state_hash, str(user_session_id))
