"""A real Redis on loopback."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import cannot_run
from tests.support.until import until


@contextmanager
def redis(port: int, folder: Path) -> Iterator[None]:
    """A Redis server at this port, without files on disk."""
    program = shutil.which("redis-server")
    if program is None:
        cannot_run("redis-server is not installed")
    options = ("--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder))
    process = subprocess.Popen((str(program), *options), stdout=subprocess.DEVNULL)
    try:
        until(lambda: listens(port))
        yield
    finally:
        process.terminate()
        process.wait()


def listens(port: int) -> bool:
    """Whether a server listens at this port."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
