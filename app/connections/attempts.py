"""Begin an attempt to connect, and consume it once.

An attempt is a row, not a value in the browser's cookie: a cookie can be copied and put back, which
would make a used `state` good again. One DELETE takes the row and gives its verifier to a single
caller, before Katana is asked: of twenty callbacks with one state one continues (RFC 9700 section
4.7, ASVS 10.2.1).
"""

import hashlib
import secrets
from dataclasses import dataclass, field

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from app.connections.models import ConnectAttempt
from app.connections.vault import Place, Vault
from app.database.clock import Clock
from app.database.db import db
from app.errors import AttemptRefused
from app.katana.oauth import new_code_verifier

LIFE_SECONDS = 600
LIVE_AT_MOST = 50  # per browser session; the oldest give way


@dataclass(frozen=True)
class Attempt:
    """What goes along to Katana's authorization page."""

    state: str = field(repr=False)
    code_verifier: str = field(repr=False)


class Attempts:
    """The attempts under way."""

    def __init__(self, vault: Vault, clock: Clock) -> None:
        self._vault = vault
        self._clock = clock

    def begin(self, user_session_id: int) -> Attempt:
        """A new attempt for this browser session, good for ten minutes.

        Raises AttemptRefused where the session has just ended.
        """
        attempt = Attempt(state=secrets.token_urlsafe(32), code_verifier=new_code_verifier())
        try:
            self._store(attempt, user_session_id)
        except IntegrityError:
            db.session.rollback()
            raise AttemptRefused("the browser session ended before its attempt began") from None
        return attempt

    def consume(self, state: str, user_session_id: int) -> str:
        """The code verifier of the attempt with this state; the attempt is gone.

        Raises AttemptRefused where no attempt of this browser session has the state, it was used,
        or ten minutes are over. Raises SealBroken where the verifier does not open.
        """
        state_hash = hash_of(state)
        sealed = db.session.scalar(
            delete(ConnectAttempt)
            .where(
                ConnectAttempt.state_hash == state_hash,
                ConnectAttempt.user_session_id == user_session_id,
                ConnectAttempt.expires_at > self._clock.database_time(),
            )
            .returning(ConnectAttempt.sealed_verifier)
        )
        db.session.commit()
        if sealed is None:
            raise AttemptRefused("no attempt of this browser session has this state")

        return self._vault.open(sealed, _place(state_hash, user_session_id))

    def _store(self, attempt: Attempt, user_session_id: int) -> None:
        state_hash = hash_of(attempt.state)
        self._make_room(user_session_id)
        db.session.execute(
            insert(ConnectAttempt).values(
                state_hash=state_hash,
                user_session_id=user_session_id,
                sealed_verifier=self._vault.seal(
                    attempt.code_verifier, _place(state_hash, user_session_id)
                ),
                created_at=self._clock.database_time(),
                expires_at=self._clock.database_time(LIFE_SECONDS),
            )
        )
        db.session.commit()

    def _make_room(self, user_session_id: int) -> None:
        kept = (
            select(ConnectAttempt.state_hash)
            .where(ConnectAttempt.user_session_id == user_session_id)
            .order_by(ConnectAttempt.created_at.desc())
            .limit(LIVE_AT_MOST - 1)
        )
        over = (
            ConnectAttempt.user_session_id == user_session_id
        ) & ConnectAttempt.state_hash.not_in(kept)
        db.session.execute(delete(ConnectAttempt).where(over))
        expired = ConnectAttempt.expires_at < self._clock.database_time()
        db.session.execute(delete(ConnectAttempt).where(expired))


def hash_of(state: str) -> str:
    """How a state is remembered: reading the table gives none away."""
    return hashlib.sha256(state.encode()).hexdigest()


def _place(state_hash: str, user_session_id: int) -> Place:
    return Place("connect_attempts", "sealed_verifier", state_hash, str(user_session_id))
