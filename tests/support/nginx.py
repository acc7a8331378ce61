"""nginx as docs/running.md sets it up, on loopback, with its own certificate authority."""

import os
import pwd
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from app.settings.config import ROOT
from tests.support.servers import reserved_port
from tests.support.until import until

STOP_SECONDS = 20

AROUND = """
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {readme}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """The folder and port of nginx, before and while it runs."""

    port: int
    folder: Path
    #: The address on which it listens.
    address: str = "127.0.0.1"

    @property
    def url(self) -> str:
        """The address for users."""
        return f"https://localhost:{self.port}"

    @property
    def authority(self) -> Path:
        """The certificate authority that clients must trust."""
        return self.folder / "authority.pem"

    def logs(self) -> str:
        """Its access and error log."""
        return "".join(path.read_text() for path in self.folder.glob("*.log"))


def find_nginx() -> str | None:
    """The path of nginx on this machine; None if there is none."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def placed(folder: Path) -> Iterator[Nginx]:
    """A place for nginx, with its certificate, before it runs."""
    folder.mkdir()
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    with reserved_port() as port:
        nginx = Nginx(port, folder)
        authority.cert_pem.write_to_path(nginx.authority)
        yield nginx


@contextmanager
def running(executable: str, nginx: Nginx, servers: Sequence[str]) -> Iterator[None]:
    """Run it in front of these servers, each host:port."""
    # If root starts it, its workers would use an account that may not read the folder.
    user = f"user {pwd.getpwuid(os.geteuid()).pw_name};" if os.geteuid() == 0 else ""
    config = nginx.folder / "nginx.conf"
    readme = _from_docs(nginx, servers)
    config.write_text(AROUND.format(user=user, folder=nginx.folder, readme=readme))
    process = subprocess.Popen(
        (executable, "-e", nginx.folder / "error.log", "-c", config, "-g", "daemon off;")
    )
    try:
        _wait_until_up(nginx, process)
        yield
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _from_docs(nginx: Nginx, servers: Sequence[str]) -> str:
    """The block of docs/running.md, with the paths of this machine."""
    (block,) = re.findall(r"(?s)```nginx\n(.*?)```", (ROOT / "docs" / "running.md").read_text())
    for theirs, ours in {
        "listen 443 ssl;": f"listen {nginx.address}:{nginx.port} ssl;",
        "your-app.example;": "localhost;",
        "/etc/ssl/your-app.example.pem": f"{nginx.folder}/both.pem",
        "/etc/ssl/your-app.example.key": f"{nginx.folder}/both.pem",
        "/var/log/nginx/": f"{nginx.folder}/",
        "server 127.0.0.1:8000;": " ".join(f"server {server};" for server in servers),
    }.items():
        assert theirs in block, f"the nginx block of docs/running.md has no {theirs}"
        block = block.replace(theirs, ours)
    return str(block)


def _wait_until_up(nginx: Nginx, process: "subprocess.Popen[bytes]") -> None:
    def answers() -> bool:
        assert process.poll() is None, f"nginx does not start:\n{nginx.logs()}"
        with socket.socket() as asking:
            return asking.connect_ex((nginx.address, nginx.port)) == 0

    until(answers)
