"""Write the row of a mail in the transaction that ends a connection, and send it once.

SMTP has no command that asks whether a mail was accepted. So:

- Not lost: the row is committed with the end of the connection. The mail is tried again until
  the mail server accepts it, refuses it permanently, or five days have passed.
- At most twice: only the worker with the lease sends. The row counts a text before it is sent.
  If no response comes, or the worker dies, the text is sent once more. It has the same
  Message-ID, so mailboxes recognise it. After that the state is `unknown`.
- Not after a reconnect: the last statement before the text checks this.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Engine, and_, exists, select
from sqlalchemy import Connection as Database

from app.accounts.models import User
from app.connections.backoff import exponential, jitter
from app.connections.models import Connection, Status
from app.database.clock import Clock
from app.database.engine import insert_into, single_reads
from app.database.leased_rows import LeasedRows, Range, ranges
from app.mail.letter import letter
from app.mail.models import Mail, MailState
from app.mail.smtp import NotTaken, Refused, Unanswered, handing_in
from app.settings.mail_server import MailServer

DELAY_SECONDS = 120.0  # a signed-in user sees it on the page, and may reconnect in this time
LEASE_SECONDS = 300.0  # a mail server may take REPLY_SECONDS for each of about eight replies
REPEAT_SECONDS = 600.0  # before a text without a response is sent again
MOST_TEXTS = 2  # the second one if there was no response to the first
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 60.0, 3600.0  # back-off doubles with each try
GIVEN_UP_AFTER = timedelta(days=5)  # RFC 5321 section 4.5.4.1

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mails:
    """Writes the rows, and sends them."""

    engine: Engine
    clock: Clock
    #: None: mail is off.
    server: MailServer | None
    #: The URL of the page on which the user reconnects.
    link: str

    @property
    def rows(self) -> LeasedRows[Mail]:
        """The rows of the table, each leased to one worker at a time."""
        return LeasedRows(self.engine, self.clock, Mail, LEASE_SECONDS, _due)

    def add(self, database: Database, connection_id: UUID) -> None:
        """Add the mail, in the transaction that ends the connection."""
        if self.server is None:
            return

        its_generation = select(Connection.generation).where(Connection.id == connection_id)
        new = insert_into(database, Mail).values(
            id=uuid4(),
            connection_id=connection_id,
            generation=its_generation.scalar_subquery(),
            state=MailState.PENDING,
            texts_sent=0,
            tries=0,
            created_at=self.clock.database_time(),
            due_at=self.clock.database_time(DELAY_SECONDS),
        )
        database.execute(new.on_conflict_do_nothing())

    def due(self, limit: int) -> Sequence[UUID]:
        """The mails to send now, the longest due first."""
        return self.rows.due(limit) if self.server else ()

    def send(self, mail_id: UUID) -> None:
        """Send one mail, if it is due and the user has not reconnected."""
        if self.server and (held := self.rows.claim(Mail.id == mail_id)):
            result = self._result(held, self.server)
            if not self.rows.finish(held, **result):
                logger.info("mail %s: another worker has it, or it was deleted", mail_id)

    def _result(self, held: Mail, server: MailServer) -> Mapping[str, Any]:
        """Send it, and return the columns to store."""
        try:
            return self._hand_in(held, server)
        except Refused as error:
            return self._failed(held, f"refused: {error}")
        except NotTaken as error:
            return self._put_off(held, error)
        except Unanswered as error:
            logger.warning("mail %s: no answer whether it is taken (%s)", held.id, error)
            return {"due_at": self.clock.database_time(REPEAT_SECONDS)}

    def _hand_in(self, held: Mail, server: MailServer) -> Mapping[str, Any]:
        if held.texts_sent >= MOST_TEXTS:
            logger.error("mail %s: no answer for the second time, not sent again", held.id)
            return {"state": MailState.UNKNOWN}

        to = self._address(held)
        if to is None:
            return {"state": MailState.CANCELLED}

        with handing_in(server, to) as send:
            text = letter(held.id, held.created_at, to, self.link, server)
            if not self._begin(held):
                return {"state": MailState.CANCELLED}

            send(text)
        return {"state": MailState.SENT, "sent_at": self.clock.database_time()}

    def _failed(self, held: Mail, detail: str) -> Mapping[str, Any]:
        logger.error("mail %s is not sent: %s", held.id, detail)
        return {"state": MailState.FAILED, "detail": detail[:100]}

    def _put_off(self, held: Mail, error: NotTaken) -> Mapping[str, Any]:
        if self.rows.claimed_at(held) > held.created_at + GIVEN_UP_AFTER:
            return self._failed(held, f"not taken for days: {error}")

        logger.warning("mail %s is not taken yet: %s", held.id, error)
        pause = exponential(held.tries, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        return {
            "due_at": self.clock.database_time(pause * jitter(1, 1.2)),
            "tries": held.tries + 1,
            "texts_sent": held.texts_sent,  # as before: a temporary refusal does not count
        }

    def _address(self, held: Mail) -> str | None:
        """The address of the user; None if the user has reconnected or disconnected."""
        found = (
            select(User.email)
            .join(Connection, Connection.user_id == User.id)
            .join(Mail, Mail.connection_id == Connection.id)
            .where(Mail.id == held.id, _still_ended())
        )
        with single_reads(self.engine).connect() as database:
            return database.scalar(found)

    def _begin(self, held: Mail) -> bool:
        """Count the text before it is sent; False if it must not be sent."""
        return self.rows.set(
            held,
            exists().where(Connection.id == Mail.connection_id, _still_ended()),
            texts_sent=held.texts_sent + 1,
            lease_until=self.rows.lease_until(),
        )


def _due(clock: Clock) -> Sequence[Range]:
    pending = Mail.state == MailState.PENDING
    return ranges(Mail.due_at, clock, 2 * LONGEST_PAUSE_SECONDS, pending)


def _still_ended() -> ColumnElement[bool]:
    return and_(
        Connection.status == Status.RECONNECT_NEEDED, Connection.generation == Mail.generation
    )
