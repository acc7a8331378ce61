"""Sends raw bytes to the served app."""

import re
import socket
from urllib.parse import urlsplit

import requests

from tests.support.actors import Maker
from tests.support.rig import Rig
from tests.support.sandbox import TIMEOUT


def token_of(maker: Maker) -> dict[str, str]:
    """The CSRF token of this browser's forms, as a field."""
    return maker.dashboard().form("/sign-out").fields


def ask(rig: Rig, method: str, where: str, **asked: object) -> requests.Response:
    """The response to a client without cookies, redirects not followed."""
    asked = {"allow_redirects": False, "timeout": TIMEOUT, **asked}
    return requests.request(method, rig.served.url + where, **asked)  # type: ignore[arg-type]


def connected(rig: Rig) -> socket.socket:
    """A connection to the served app."""
    port = urlsplit(rig.served.url).port
    assert port
    return socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)


def raw(rig: Rig, sent: bytes) -> bytes:
    """The response to these bytes, after which the client sends nothing more."""
    received = b""
    with connected(rig) as sock:
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        while piece := sock.recv(65536):
            received += piece
    return received


def _without_token(html: str) -> str:
    return re.sub(r'value="[^"]{20,}"', "", html)
