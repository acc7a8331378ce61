"""PostgreSQL stops under the served app, and starts again: pages say so, and then go on."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.actors import LIVE, Maker
from tests.pages import Page
from tests.postgres import Postgres
from tests.sandbox import Sandbox
from tests.servers import MAKE_SERVE, Served, gunicorn

pytestmark = pytest.mark.one_database("postgresql")


@pytest.fixture
def database_url(server: Postgres) -> str:
    """An empty database, for `make serve` to migrate."""
    return server.create("app")


@pytest.fixture
def served(environ: dict[str, str], listener: socket.socket, tmp_path: Path) -> Iterator[Served]:
    """The app by its production command."""
    with gunicorn(environ, listener, tmp_path / "served.log", command=MAKE_SERVE) as served:
        yield served


def says_that_it_is_away(page: Page) -> bool:
    """A whole page, and when to ask again."""
    return page.status == 503 and "short break" in page.text and "Retry-After" in page.headers


def test_it_goes_away_and_comes_back(
    served: Served, served_maker: Maker, sandbox: Sandbox, server: Postgres
) -> None:
    """Every page says so meanwhile, Katana is sent nothing, and nobody has to restart the app."""
    served_maker.sign_up()
    served_maker.connect()
    form = served_maker.dashboard()
    sandbox.expire()
    server.stop()

    assert says_that_it_is_away(served_maker.dashboard())
    assert says_that_it_is_away(served_maker.submit(form, "/katana/disconnect"))
    assert [served_maker.get(path).status for path in ("/healthz", "/readyz")] == [200, 503]
    assert sandbox.ledger().of("refresh") == []

    server.start()

    pages = [served_maker.dashboard() for _ in range(4)]
    assert all(LIVE in page.text for page in pages)
    assert served_maker.get("/readyz").status == 200
    (family,) = sandbox.ledger().families
    assert not any(token.presented > 1 for token in family.refresh_tokens)

    server.stop()
    server.start()

    # Connections from before the restart are tried before they are used: nobody sees an error.
    assert all(LIVE in served_maker.dashboard().text for _ in range(4))
