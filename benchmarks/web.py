"""Load on a served page: many clients, each sends the next request after a response."""

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil

from app.settings.config import ROOT
from benchmarks.measuring import percentile
from tests.support.servers import START_SECONDS, STOP_SECONDS

WORKERS, THREADS = 2, 8


@dataclass(frozen=True)
class Load:
    """The results of the clients in one round."""

    per_second: float
    p50: float  # seconds
    p99: float  # seconds


@dataclass(frozen=True)
class Served:
    """An app under gunicorn."""

    url: str
    process: subprocess.Popen[bytes]
    started_in: float  # seconds until the first response

    def worker_memory(self) -> int:
        """The resident set of one worker in bytes, shared memory included."""
        workers = psutil.Process(self.process.pid).children()
        return max(worker.memory_info().rss for worker in workers)


@contextmanager
def served(
    target: str,
    path: str,
    environ: Mapping[str, str],
    listener: socket.socket,
    *,
    workers: int = WORKERS,
) -> Iterator[Served]:
    """`target` under gunicorn with this repository's settings, once `path` has responded."""
    url = f"http://localhost:{listener.getsockname()[1]}"
    serve = {
        "GUNICORN_BIND": f"fd://{listener.fileno()}",
        "GUNICORN_WORKERS": str(workers),
        "GUNICORN_THREADS": str(THREADS),
    }
    began = time.perf_counter()
    process = subprocess.Popen(
        (sys.executable, "-m", "gunicorn", target, "--access-logfile", os.devnull),
        cwd=ROOT,
        env={**os.environ, **environ, **serve},
        pass_fds=(listener.fileno(),),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # The kernel keeps the request until a worker accepts it.
        ask(url, path, timeout=START_SECONDS)
        yield Served(url, process, time.perf_counter() - began)
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def ask(url: str, path: str, cookie: str = "", timeout: float = 30) -> bytes:
    """One page."""
    host = urlsplit(url).netloc
    connection = http.client.HTTPConnection(host, timeout=timeout)
    try:
        return _ask(connection, path, cookie)
    finally:
        connection.close()


def load(
    url: str, path: str, *, seconds: float, clients: int, holds: bytes, cookie: str = ""
) -> Load:
    """Request `path` for `seconds` with many clients; each response must contain these bytes."""
    took: list[float] = []
    start = time.perf_counter()

    def client() -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        while time.perf_counter() - start < seconds:
            began = time.perf_counter()
            page = _ask(connection, path, cookie)
            took.append(time.perf_counter() - began)
            if holds not in page:
                raise AssertionError(f"{path} answers something else")
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(
        len(took) / (time.perf_counter() - start), percentile(took, 0.5), percentile(took, 0.99)
    )


def _ask(connection: http.client.HTTPConnection, path: str, cookie: str) -> bytes:
    connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
    answer = connection.getresponse()
    page = answer.read()
    if answer.status != 200:
        raise AssertionError(f"{path} answers {answer.status}")

    return page
