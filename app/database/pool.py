"""Replaces database sessions that are dead, or that can no longer write.

SQLAlchemy's `pool_pre_ping` sends a statement before each use, which doubles the time of a single
query. Here the socket is checked instead: a server that stops closes it, which is visible without a
round trip. Only a session that was idle for a second is tested by a statement, because a network
may drop connections silently, and a failover may leave a session on a read-only server.
"""

import os
import select
import sqlite3

import psycopg
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

from app.database.clock import monotonic

REST_SECONDS = 1.0  # a session that was idle longer is tested by a statement
LAST_USED = "last_used"
FILE = "file"

#: SQLSTATEs after which this session cannot write any more, but a new one may (PostgreSQL, Appendix
#: A). Class 08, connection exceptions, belongs to them too.
USELESS = {
    "25006",  # read only: the server is a replica now, or was set to read only
    "25P03",  # idle-in-transaction time-out
    "25P04",  # transaction time-out
    "57P01",  # terminated by an administrator
    "57P02",  # crash of another server process
    "57P03",  # starting up, shutting down or in recovery
    "57P04",  # the database was dropped
    "57P05",  # idle session time-out
    "0A000",  # a cached plan that no longer fits its tables
    "26000",  # a prepared statement that the session no longer has
    "55000",  # in recovery: no transaction ids
    "XX000",  # internal error
}
#: The same for SQLite (sqlite.org/rescode.html): read-only, I/O, corrupt, cannot open, no database.
SQLITE_USELESS = {
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
}


def end_useless_sessions(engine: Engine) -> None:
    """Close all sessions of the pool after an error that shows that one of them cannot write.

    The next statement gets a new session, which may reach another server.
    """

    def judge(context: ExceptionContext) -> None:
        if is_useless(context.original_exception):
            context.is_disconnect = True

    event.listen(engine, "handle_error", judge)


def is_useless(error: BaseException | None) -> bool:
    """Whether the session that raised `error` cannot write any more."""
    if isinstance(error, psycopg.Error):
        state = error.sqlstate or ""
        return state in USELESS or state.startswith("08")
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in SQLITE_USELESS  # an extended code has the basic one in its low byte


def check_file(engine: Engine) -> None:
    """Make a SQLite `engine` replace a session whose file was replaced, for example by a restore.

    SQLite would continue to write to the deleted file and report success. Raises
    sqlite3.OperationalError while there is no file.
    """
    path = engine.url.database
    if not path or path == ":memory:" or path.startswith("file:"):
        return

    def note(_connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        entry.info[FILE] = _identity(path)

    def check(_connection: DBAPIConnection, entry: ConnectionPoolEntry, _proxy: object) -> None:
        if entry.info[FILE] != _identity(path):
            raise InvalidatePoolError

    event.listen(engine, "connect", note)
    event.listen(engine, "checkout", check)


def check_before_use(engine: Engine, rest_seconds: float = REST_SECONDS) -> None:
    """Make a psycopg `engine` replace a session that is dead or read-only, before its use."""

    def note(_connection: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
        entry.info[LAST_USED] = monotonic()

    def check(connection: DBAPIConnection, entry: ConnectionPoolEntry, _proxy: object) -> None:
        if LAST_USED not in entry.info:
            return  # a new session

        idle = monotonic() - entry.info[LAST_USED]
        if idle < rest_seconds and not _has_unread_bytes(connection):
            return

        if not _can_write(engine, connection):
            # Replaces all sessions of the pool: the others have most likely lost their server too.
            raise InvalidatePoolError

    event.listen(engine, "checkin", note)
    event.listen(engine, "checkout", check)


def _identity(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise sqlite3.OperationalError("unable to open database file") from error
    return found.st_dev, found.st_ino


def _can_write(engine: Engine, connection: DBAPIConnection) -> bool:
    error_of_driver = engine.dialect.loaded_dbapi.Error
    try:
        cursor = connection.cursor()
        try:
            cursor.execute("SELECT current_setting('transaction_read_only')")
            (read_only,) = cursor.fetchone() or ("on",)
        finally:
            cursor.close()
        connection.rollback()
    except error_of_driver:
        return False
    return bool(read_only == "off")


def _has_unread_bytes(connection: DBAPIConnection) -> bool:
    """Whether the socket is readable although no query was sent: the server has closed it."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
