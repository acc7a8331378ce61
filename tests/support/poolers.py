"""A real pgbouncer on loopback, in front of the PostgreSQL of the tests."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from sqlalchemy import make_url

from tests.conftest import cannot_run
from tests.support.until import until

SETTINGS = """\
[databases]
{name} = host={host} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
"""
IGNORES = "ignore_startup_parameters = options\n"


@contextmanager
def pooled(database_url: str, settings: str = "") -> Iterator[str]:
    """The URL of the database through pgbouncer, with these additional settings."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        cannot_run("pgbouncer is not installed")
    url, port = make_url(database_url), _free_port()
    folder = Path(tempfile.mkdtemp(prefix="connect-pgb-"))
    file = folder / "pgbouncer.ini"
    host = unquote(str(url.query["host"]))
    file.write_text(SETTINGS.format(name=url.database, host=host, port=port) + settings)
    folder.chmod(0o755)
    # It refuses to run as root, and needs access to the folder of the server's socket.
    as_user = ("--user", Path(host).owner()) if os.geteuid() == 0 else ()
    process = subprocess.Popen((program, "--quiet", *as_user, str(file)))
    try:
        until(lambda: _listens(port), lambda: f"it ended with {process.poll()}", seconds=30)
        yield f"postgresql://postgres@127.0.0.1:{port}/{url.database}"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
