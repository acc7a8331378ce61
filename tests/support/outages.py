"""A database that can fail for a while, and its own PostgreSQL server."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.support.locks import locked
from tests.support.postgres import Postgres

#: A context in which the database fails.
Outage = Callable[[], AbstractContextManager[object]]


def own_database(request: pytest.FixtureRequest, folder: Path) -> str:
    """A migrated database; on PostgreSQL on the fixture `server`, which no other test uses."""
    if request.param == "sqlite":
        path = shutil.copy(request.getfixturevalue("migrated_sqlite"), folder / "app.db")
        return f"sqlite:///{path}"

    server: Postgres = request.getfixturevalue("server")
    url = server.create("app")
    request.getfixturevalue("migrate")(url)
    return url


def outage_of(request: pytest.FixtureRequest, database_url: str) -> Outage:
    """The outage for a database of `own_database`."""
    if database_url.startswith("sqlite"):
        return lambda: locked(database_url)

    server: Postgres = request.getfixturevalue("server")
    return lambda: _stopped(server)


@contextmanager
def _stopped(server: Postgres) -> Iterator[None]:
    server.stop()
    yield
    server.start()
