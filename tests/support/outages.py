"""A database that can be taken away for a while, and a server of PostgreSQL of one's own for it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.support.locks import locked
from tests.support.postgres import Postgres

#: Keeps the database from taking anything for as long as it is entered.
Outage = Callable[[], AbstractContextManager[object]]


def own_database(request: pytest.FixtureRequest, folder: Path) -> str:
    """A migrated database; on PostgreSQL one of the fixture `server`, which no other test uses."""
    if request.param == "sqlite":
        path = shutil.copy(request.getfixturevalue("migrated_sqlite"), folder / "app.db")
        return f"sqlite:///{path}"

    server: Postgres = request.getfixturevalue("server")
    url = server.create("app")
    request.getfixturevalue("migrate")(url)
    return url


def outage_of(request: pytest.FixtureRequest, database_url: str) -> Outage:
    """How to take away what `own_database` has made."""
    if database_url.startswith("sqlite"):
        return lambda: locked(database_url)

    server: Postgres = request.getfixturevalue("server")
    return lambda: _stopped(server)


@contextmanager
def _stopped(server: Postgres) -> Iterator[None]:
    server.stop()
    yield
    server.start()
