"""Runs compose.yaml without containers: the same processes, commands, settings and order.

The app, the worker and nginx share one network namespace there; here they share the loopback
interface. The folders and ports of the containers are replaced by those of a test.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from app.settings.config import ROOT
from tests.support.clones import Clone
from tests.support.nginx import find_nginx
from tests.support.servers import STOP_SECONDS, reserved_port
from tests.support.until import until

FOLDERS = ("certificate", "database-password", "etc/nginx", "run/nginx")
PORTS = ("8000", "8001", "8002", "8025", "8081", "8443")
DOCKERFILE = (ROOT / "Dockerfile").read_text()
NGINX = ROOT / "deploy" / "nginx"
#: Parts of a service that a test replaces: by a real PostgreSQL, and by this machine's network.
BROUGHT = {"database", "network"}

Service = Mapping[str, Any]


def services(*files: str) -> dict[str, Service]:
    """The services of these files. Later files override earlier ones."""
    found: dict[str, dict[str, Any]] = {}
    for file in files:
        for name, changed in yaml.safe_load((ROOT / file).read_text())["services"].items():
            before = found.setdefault(name, {})
            both: dict[str, Any] = {
                key: {**before.get(key, {}), **changed.get(key, {})}
                for key in ("environment", "depends_on")
            }
            both["volumes"] = [*before.get("volumes", []), *changed.get("volumes", [])]
            found[name] = {**before, **changed, **both}
    return dict(found)


def exec_form(instruction: str) -> list[str]:
    """The command of an instruction of the Dockerfile in exec form."""
    (words,) = re.findall(rf"(?m)^{instruction}(?: --\S+)*(?: CMD)? (\[.*\])$", DOCKERFILE)
    listed: list[str] = json.loads(words)
    return listed


@dataclass
class Composition:
    """The services of some compose files, run in a clone."""

    clone: Clone
    folder: Path
    services: Mapping[str, Service]
    #: The environment of `docker compose`.
    given: Mapping[str, str]
    #: Variables that a test changes in each process.
    changed: Mapping[str, str]
    ports: Mapping[str, str]
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The address for users."""
        return f"https://localhost:{self.ports['8443']}"

    @property
    def certificate(self) -> Path:
        """The self-signed certificate of nginx."""
        return self.folder / "certificate" / "certificate.pem"

    @property
    def password(self) -> Path:
        """The password of the database."""
        return self.folder / "database-password" / "password"

    def said(self, name: str) -> str:
        """The output of a service."""
        return (self.folder / f"{name}.log").read_text()

    def up(self) -> None:
        """Start every service when the conditions on its dependencies are true."""
        for name in self.services:
            self.start(name)

    def start(self, name: str) -> None:
        """Start one service after its dependencies."""
        if name in self.running:
            return
        for other, wanted in self.services[name].get("depends_on", {}).items():
            self.start(other)
            if other not in BROUGHT:
                self._wait(other, wanted["condition"])
        if name not in BROUGHT:
            self.running[name] = self.popen(name)
        if name == "proxy":
            until(lambda: not self._is_up(name) or self._is_open("8443"))
            assert self._is_up(name), self.said(name)

    def popen(self, name: str) -> "subprocess.Popen[bytes]":
        """Start the process of a service, without waiting."""
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                self._command(name),
                cwd=self.clone.path,
                env=self._environ(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self, name: str) -> int:
        """Send SIGTERM, as `docker stop` does, and return the exit status."""
        process = self.running[name]
        process.send_signal(signal.SIGTERM)
        return process.wait(STOP_SECONDS)

    def placed(self, text: str) -> str:
        """A text of the containers, with the folders and ports of this machine."""
        text = re.sub(rf"\b({'|'.join(PORTS)})\b", lambda port: self.ports[port[0]], text)
        for folder in FOLDERS:
            text = re.sub(rf"(?<![\w./])/{folder}\b", f"{self.folder}/{folder}", text)
        return text

    def _wait(self, name: str, condition: str) -> None:
        match condition:
            case "service_completed_successfully":
                assert self.running[name].wait(STOP_SECONDS) == 0, self.said(name)
                if name == "first-start" and self.clone.sandbox_env.exists():
                    placed = self.placed(self.clone.sandbox_env.read_text())
                    self.clone.sandbox_env.write_text(placed)
            case "service_healthy":
                until(lambda: self._is_healthy(name), lambda: self.said(name))

    def _is_healthy(self, name: str) -> bool:
        assert self._is_up(name), self.said(name)
        own = self.services[name].get("healthcheck", {}).get("test")
        words = own[1:] if own else exec_form("HEALTHCHECK")
        asked = subprocess.run(
            [self.placed(word) for word in words],
            env=self._environ(name),
            capture_output=True,
        )
        return asked.returncode == 0

    def _is_up(self, name: str) -> bool:
        return self.running[name].poll() is None

    def _is_open(self, port: str) -> bool:
        with socket.socket() as asking:
            return asking.connect_ex(("127.0.0.1", int(self.ports[port]))) == 0

    def _command(self, name: str) -> list[str]:
        service = self.services[name]
        words = service.get("entrypoint") or service.get("command") or exec_form("CMD")
        command = [self.placed(word) for word in words]
        if command[0] == "nginx":
            user = " user root;" if os.geteuid() == 0 else ""  # workers must read the folder
            return [find_nginx() or "nginx", *command[1:-1], command[-1] + user]
        return command

    def _environ(self, name: str) -> dict[str, str]:
        listed = {
            key: re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: self.given.get(m[1]) or m[2], str(value))
            for key, value in self.services[name]["environment"].items()
        }
        placed = {key: self.placed(value) for key, value in listed.items()}
        path = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/bin"
        return {"PATH": path, "PYTHONUNBUFFERED": "1", **placed, **self.changed}


@contextmanager
def composed(
    clone: Clone,
    folder: Path,
    *files: str,
    given: Mapping[str, str] | None = None,
    changed: Mapping[str, str] | None = None,
) -> Iterator[Composition]:
    """These compose files in a clone. All processes are stopped at the end."""
    with ExitStack() as stack:
        ports = {port: str(stack.enter_context(reserved_port())) for port in PORTS}
        one = Composition(clone, folder, services(*files), given or {}, changed or {}, ports)
        _lay_volumes(one)
        try:
            yield one
        finally:
            for name, process in reversed(one.running.items()):
                if process.poll() is None:
                    one.stop(name)


def _lay_volumes(one: Composition) -> None:
    """Put the files of the Dockerfile and the volumes at the places that the services use."""
    for name in (*FOLDERS, "etc/nginx/sites"):
        (one.folder / name).mkdir(parents=True, exist_ok=True)
    instance = one.clone.path / "instance"
    instance.mkdir(mode=0o700)
    one.clone.env.symlink_to("instance/.env")
    for mount in one.services["proxy"]["volumes"]:
        source, target, *_ = mount.split(":")
        if source.startswith("./deploy/nginx/"):
            text = one.placed((ROOT / source).read_text())
            (one.folder / target.lstrip("/")).write_text(text)
