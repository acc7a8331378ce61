"""A database that another connection is writing to."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from sqlalchemy.engine import make_url


@contextmanager
def locked(database_url: str) -> Iterator[sqlite3.Connection]:
    """Within the context only the connection that is returned can write to the SQLite file."""
    file = make_url(database_url).database or ""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
