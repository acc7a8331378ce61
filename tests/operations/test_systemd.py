"""deploy/systemd: the units are valid, may do little, and give a refresh the time to be saved."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from app.settings.config import ROOT
from tests.conftest import program
from tests.support.sandbox import TIMEOUT
from tests.support.servers import START_SECONDS, STOP_SECONDS, reserved_port
from tests.support.until import until

UNITS = ROOT / "deploy" / "systemd"
HOME = "/opt/connect-to-katana"
SERVICES = ("connect-to-katana.service", "connect-to-katana-worker.service")
SHARED = "\n# The same lines as in "
MOST_EXPOSED = (
    "15"  # tenths of the 10 that `systemd-analyze security` gives to a unit without limits
)


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units, with the programs of this machine in them."""
    placed = []
    for unit in sorted(UNITS.iterdir()):
        text = unit.read_text().replace(f"{HOME}/.venv", sys.prefix)
        placed.append(tmp_path / unit.name)
        placed[-1].write_text(text)
    assert len(placed) == 3
    return placed


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze says."""
    command = [program("systemd-analyze"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_systemd_finds_nothing_wrong_with_the_units(units: list[Path]) -> None:
    """Every option is known, every program is there, and no unit refers to one that is not."""
    said = analyze("verify", "--man=no", *units)

    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_exposes_little(name: str) -> None:
    """What a broken-in process could do is limited: 1.5 of 10 at most."""
    said = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", UNITS / name)

    assert said.returncode == 0, said.stdout[-300:] + said.stderr


def test_both_services_are_limited_alike() -> None:
    """An option that one gets, the other gets too."""
    first, second = ((UNITS / name).read_text().partition(SHARED)[2] for name in SERVICES)

    assert first.partition("\n")[2] == second.partition("\n")[2] != ""


@pytest.mark.parametrize("name", SERVICES)
def test_systemd_waits_longer_than_gunicorn(name: str) -> None:
    """SIGKILL comes only when gunicorn itself would have given up, and some seconds later."""
    (graceful,) = re.findall(
        r"(?m)^graceful_timeout = (\d+)$", (ROOT / "gunicorn.conf.py").read_text()
    )
    (stop,) = re.findall(r"(?m)^TimeoutStopSec=(\d+)$", (UNITS / name).read_text())

    assert int(stop) >= int(graceful) + 10


@pytest.mark.one_database
def test_the_server_takes_the_socket_over_and_says_when_it_is_ready(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """As under Type=notify: the first request starts it, READY=1 follows, SIGTERM ends it well."""
    (start,) = re.findall(r"(?m)^ExecStart=\S+/python (.*)$", (UNITS / SERVICES[0]).read_text())
    environ = environ | {"GUNICORN_WORKERS": "1", "NOTIFY_SOCKET": str(tmp_path / "notify")}
    passed = [f"--setenv={name}={value}" for name, value in environ.items()]
    with (
        reserved_port() as port,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
        (tmp_path / "served.log").open("wb") as log,
    ):
        told.bind(environ["NOTIFY_SOCKET"])
        told.settimeout(START_SECONDS)
        listen = (program("systemd-socket-activate"), f"--listen=127.0.0.1:{port}")
        process = subprocess.Popen(
            (*listen, *passed, sys.executable, *start.split()), cwd=ROOT, stdout=log, stderr=log
        )
        try:
            answer = ask(f"http://127.0.0.1:{port}/healthz")
            ready = told.recv(1000)
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(STOP_SECONDS)

    assert (answer, status) == ("ok\n", 0), (tmp_path / "served.log").read_text()
    assert b"READY=1" in ready


def ask(url: str) -> str:
    """The answer, once somebody listens."""
    answers: list[str] = []

    def answered() -> bool:
        try:
            answers.append(requests.get(url, timeout=TIMEOUT).text)
        except requests.ConnectionError:
            return False
        return True

    until(answered)
    return answers[0]
