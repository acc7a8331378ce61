"""Servers as child processes: start them, wait until they respond, stop them together."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn, Self

from app.settings.config import ROOT

POLL_SECONDS = 0.05
STOP_SECONDS = 20
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Server:
    """What to run as `python -m`, its address, and what to do when the port is taken.

    Port 0: it listens nowhere.
    """

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str]
    host: str = ""
    port: int = 0
    remedy: str = ""
    quiet: bool = False


class Servers:
    """Servers that are started one by one and stopped together, in reverse order."""

    def __init__(self) -> None:
        self._running: list[tuple[Server, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        ignore_signals()
        for _server, process in reversed(self._running):
            _end(process)

    def start(self, server: Server) -> None:
        """Start `server`, and do not wait until it responds."""
        self._running.append((server, _popen(server)))

    def wait_for_answers(self) -> None:
        """Return when all respond to HTTP. Exit with a sentence if one ends before."""
        while not all(_answers(server) for server, _ in self._running):
            self._require_all_alive()
            time.sleep(POLL_SECONDS)

    def wait_for_an_end(self) -> NoReturn:
        """Exit with a sentence when one has ended."""
        while True:
            self._require_all_alive()
            time.sleep(4 * POLL_SECONDS)

    def _require_all_alive(self) -> None:
        for server, process in self._running:
            if process.poll() is not None:
                sys.exit(f"{server.name} has ended (status {process.returncode}).")


def end_at_signals() -> None:
    """Turn the first signal to stop into a KeyboardInterrupt."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)


def ignore_signals() -> None:
    """Call it while stopping: a second Ctrl-C must not leave a server behind."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def require_free_port(server: Server) -> None:
    """Exit with a sentence if `server` could not listen."""
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    try:
        socket.create_server((server.host, server.port), family=family).close()
    except PermissionError:
        sys.exit(f"Port {server.port} needs an administrator: {server.remedy} to one above 1023.")
    except OSError:
        sys.exit(f"Port {server.port} is taken: stop the program there, or {server.remedy}.")


def _popen(server: Server) -> subprocess.Popen[bytes]:
    # In its own session: Ctrl-C in the terminal reaches only the parent, which then stops its
    # servers in the right order.
    return subprocess.Popen(  # noqa: S603  the command contains no input
        (sys.executable, "-m", *server.command),
        cwd=ROOT,
        env={**os.environ, **server.environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if server.quiet else None,
        start_new_session=True,
    )


def _interrupt(*_: object) -> None:
    ignore_signals()
    raise KeyboardInterrupt


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answers(server: Server) -> bool:
    if not server.port:
        return True

    connection = http.client.HTTPConnection(server.host, server.port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True
