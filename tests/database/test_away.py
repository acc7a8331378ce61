"""PostgreSQL stops under the served app, and starts again: pages say so, and then go on."""

import socket
from collections.abc import Iterator
from pathlib import Path

import flask_migrate
import pytest
from sqlalchemy import select

from app.accounts.models import User
from app.database.db import db
from app.settings.config import ROOT
from tests.conftest import MakeApp
from tests.support.actors import LIVE, ClientBrowser, Maker
from tests.support.pages import Page
from tests.support.postgres import Postgres
from tests.support.sandbox import Sandbox
from tests.support.servers import MAKE_SERVE, Served, gunicorn

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


@pytest.mark.slow
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


def test_it_ends_between_a_page_and_the_end_of_its_transaction(
    new_app: MakeApp, sandbox: Sandbox, server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    """The page is finished by then, so the user gets it; the next one gets another session."""
    app = new_app()
    ends = iter((True, False, False))

    def names() -> str:
        found = ", ".join(db.session.scalars(select(User.email)))
        if next(ends):
            server.stop()
        return found

    app.add_url_rule("/names", view_func=names)
    with app.app_context():
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
    maker = Maker(ClientBrowser(app.test_client()), sandbox)
    maker.sign_up()

    first = maker.get("/names")
    server.start()

    assert [first.text, *(maker.get("/names").text for _ in range(2))] == [maker.email] * 3
    assert "could not be rolled back" in caplog.text
