"""Requests to the served app as bytes."""

import re
import socket
from urllib.parse import urlsplit

import requests

from tests.support.actors import Maker
from tests.support.rig import Rig
from tests.support.sandbox import TIMEOUT


def token_of(maker: Maker) -> dict[str, str]:
    """What the forms of this browser carry."""
    return maker.dashboard().form("/sign-out").fields


def ask(rig: Rig, method: str, where: str, **asked: object) -> requests.Response:
    """The answer to a stranger, as it came."""
    asked = {"allow_redirects": False, "timeout": TIMEOUT, **asked}
    return requests.request(method, rig.served.url + where, **asked)  # type: ignore[arg-type]


def connected(rig: Rig) -> socket.socket:
    """A connection to the served app."""
    port = urlsplit(rig.served.url).port
    assert port
    return socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)


def raw(rig: Rig, sent: bytes) -> bytes:
    """All that comes back for these bytes, after which nothing more is sent."""
    received = b""
    with connected(rig) as sock:
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        while piece := sock.recv(65536):
            received += piece
    return received


def _without_token(html: str) -> str:
    return re.sub(r'value="[^"]{20,}"', "", html)
