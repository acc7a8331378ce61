"""Real servers on loopback: an app in a thread, or under gunicorn as in production."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from app.settings.config import ROOT
from tests.support.until import until

START_SECONDS = 30
STOP_SECONDS = 80  # more than gunicorn's graceful_timeout


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@contextmanager
def serving(app: Flask, address: str = "127.0.0.1") -> Iterator[str]:
    """Serve `app` in threads of this process; its URL."""
    server = make_server(address, 0, app, threaded=True, request_handler=_Quiet)
    # The poll interval is the longest time that a stop takes, in every test.
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def reserved_port() -> Iterator[int]:
    """A free port that nothing listens on, reserved for one server.

    It is bound but does not listen. On Linux a server that binds this port may listen beside it,
    and a request for any free port gets another one. On other systems it is released, and stays
    free until another process takes it.
    """
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        if sys.platform != "linux":
            bound.close()
        yield port


@contextmanager
def listening() -> Iterator[socket.socket]:
    """A listening socket on a reserved port. If it is closed, the port stays reserved."""
    with (
        reserved_port() as port,
        socket.create_server(("127.0.0.1", port), backlog=128) as listener,
    ):
        listener.set_inheritable(True)
        yield listener


@dataclass(frozen=True)
class Served:
    """The app under gunicorn."""

    url: str
    process: subprocess.Popen[bytes]
    log_file: Path
    log_from: int = 0  # the start of its log for this test, in bytes

    def master(self) -> psutil.Process:
        """The master process of gunicorn, which a command may have started."""
        process = psutil.Process(self.process.pid)
        return process if "wsgi:app" in process.cmdline() else process.children()[0]

    def log(self) -> str:
        """Its output, access log included."""
        return self.log_file.read_bytes()[self.log_from :].decode()

    def wait_until_said(self, words: str, times: int = 1) -> None:
        """Wait until its log contains these words, so many times."""
        until(
            lambda: self.log().count(words) >= times,
            lambda: f"it does not say {words!r}:\n{self.log()}",
        )

    def stop(self) -> int:
        """Stop it gracefully, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


GUNICORN = (sys.executable, "-m", "gunicorn", "wsgi:app")
#: The production command, in the existing virtual environment of the tests.
MAKE_SERVE = (
    *("make", "serve", f"VENV={sys.prefix}"),
    *(f"--old-file={sys.prefix}/{made}" for made in (".run", "bin/python")),
)


@contextmanager
def gunicorn(
    environ: Mapping[str, str],
    listener: socket.socket,
    log_file: Path,
    *,
    workers: int = 2,
    command: tuple[str, ...] = GUNICORN,
    folder: Path = ROOT,
    by_name: bool = False,
) -> Iterator[Served]:
    """The app under gunicorn with the repository's own settings, listening on `listener`.

    With `by_name` it binds the port itself and gets no socket: a successor cannot inherit that.
    """
    host, port = listener.getsockname()
    passed = () if by_name else (listener.fileno(),)
    if by_name:
        listener.close()
    bind = f"{host}:{port}" if by_name else f"fd://{listener.fileno()}"
    serve = {"GUNICORN_BIND": bind, "GUNICORN_WORKERS": str(workers)}
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**ours, **environ, **serve},
            pass_fds=passed,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    served = Served(f"http://localhost:{port}", process, log_file)
    try:
        _wait_until_up(served)
        yield served
    finally:
        if process.poll() is None:
            served.stop()


def _wait_until_up(served: Served) -> None:
    # Our listening socket keeps the request until a worker accepts it, so no retry is needed.
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            requests.get(f"{served.url}/healthz", timeout=START_SECONDS).raise_for_status()
            return
        except requests.RequestException as error:
            is_starting = served.process.poll() is None and time.monotonic() < deadline
            if not is_starting or not isinstance(error, requests.ConnectionError):
                raise AssertionError(f"gunicorn does not answer:\n{served.log()}") from error
