"""A pooled connection to PostgreSQL is known to live before it is used, mostly without asking.

SQLAlchemy's `pool_pre_ping` sends a statement before each use, which takes as long as the one that
it is for. A server that goes away closes its end of the socket, and that costs nothing to see. Only
a network that drops connections in silence gives no sign, and it does so when they have rested.
"""

import select

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

from app.database.clock import monotonic

REST_SECONDS = 1.0  # after which the server itself is asked
LAST_USED = "last_used"


def check_before_use(engine: Engine, rest_seconds: float = REST_SECONDS) -> None:
    """Let `engine`, of psycopg, replace a connection that is dead before anybody gets it."""

    def note(_connection: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
        entry.info[LAST_USED] = monotonic()

    def check(connection: DBAPIConnection, entry: ConnectionPoolEntry, _proxy: object) -> None:
        if LAST_USED not in entry.info:
            return  # it is new

        rested = monotonic() - entry.info[LAST_USED]
        if rested < rest_seconds and not _has_word(connection):
            return

        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            # The others of its age have most likely lost their server too.
            raise InvalidatePoolError from error

    event.listen(engine, "checkin", note)
    event.listen(engine, "checkout", check)


def _has_word(connection: DBAPIConnection) -> bool:
    """Whether the server has said something that nobody asked for, such as its farewell."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
