"""PostgreSQL behind pgbouncer: with the setting that it needs, and without it."""

import socket

import pytest

from app.connections import start_up
from app.errors import ConfigurationError
from app.operations import serve
from tests.conftest import MakeApp
from tests.support.actors import LIVE, ClientBrowser, Maker
from tests.support.commands import run
from tests.support.poolers import IGNORES, pooled
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.one_database("postgresql")

REMEDY = "ignore_startup_parameters = options"


def test_a_pooler_without_its_setting_is_named(
    database_url: str, new_app: MakeApp, environ: dict[str, str], listener: socket.socket
) -> None:
    """By `make serve`, by doctor, by a server's own start and by a command: what to set, and where.

    Of the same kind: pgbouncer since 1.20, which names the parameter inside of `options`, and other
    poolers that speak its protocol.
    """
    listener.close()  # nothing is served, and doctor need not wait to find out
    with pooled(database_url) as url:
        app = new_app(DATABASE_URL=url)
        with pytest.raises(SystemExit) as served:
            serve.migrate(environ | {"DATABASE_URL": url})
        doctor = run(app, "doctor")
        command = run(app, "connections", "list")
        with pytest.raises(ConfigurationError) as start:
            start_up.check(app)

    for told in (str(served.value), doctor.output, command.output, str(start.value)):
        assert REMEDY in " ".join(told.split())
        assert "Traceback" not in told


@pytest.mark.sandbox
def test_with_its_setting_all_works(database_url: str, new_app: MakeApp, sandbox: Sandbox) -> None:
    """Sign up, connect and refresh, where each transaction may get another session."""
    with pooled(database_url, IGNORES) as url:
        app = new_app(DATABASE_URL=url)
        maker = Maker(ClientBrowser(app.test_client()), sandbox)
        maker.sign_up()
        maker.connect()
        sandbox.expire()

        assert LIVE in maker.dashboard().text
