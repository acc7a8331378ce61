"""The limits are kept in Redis: what the served app does while it is away."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.actors import Maker
from tests.support.redis_server import redis
from tests.support.servers import gunicorn, reserved_port

pytestmark = [pytest.mark.one_database, pytest.mark.accounts]


@pytest.fixture
def port() -> Iterator[int]:
    """Where Redis is, or would be."""
    with reserved_port() as port:
        yield port


@pytest.fixture
def environ(environ: dict[str, str], port: int) -> dict[str, str]:
    """The limits are in Redis."""
    return {**environ, "RATELIMIT_STORAGE_URI": f"redis://:secret-a83c@127.0.0.1:{port}"}


@pytest.mark.slow
def test_a_store_that_is_away_is_a_short_break(
    environ: dict[str, str],
    listener: socket.socket,
    served_maker: Maker,
    port: int,
    tmp_path: Path,
) -> None:
    """S-62: each page that counts tries answers 503, not 500, and the app recovers without help.

    Of the same kind: a store that dies in between, that hangs, or that refuses the password.
    """
    url = environ["RATELIMIT_STORAGE_URI"].replace(":secret-a83c@", "")
    with gunicorn({**environ, "RATELIMIT_STORAGE_URI": url}, listener, tmp_path / "log") as served:
        form = served_maker.get("/sign-up")
        away = [
            served_maker.submit(
                form, "/sign-up", email="ada@workshop.example", password="an owl at midnight"
            ),
            served_maker.get("/katana/callback?code=a&state=b"),
            served_maker.get("/readyz"),
        ]
        assert [page.status for page in away] == [503, 503, 503]
        assert all("short break" in page.text for page in away[:2])
        assert served_maker.get("/healthz").status == 200
        assert "Traceback" not in served.log_file.read_text()

        with redis(port, tmp_path):
            served_maker.sign_up()
            assert served_maker.get("/readyz").status == 200

        assert served_maker.get("/readyz").status == 503
        assert served_maker.get("/dashboard").status == 200
