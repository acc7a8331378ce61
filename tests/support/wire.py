"""A server that responds as a test tells it, byte by byte if needed, and records each request."""

import select
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

PIECE = 64 * 1024


@dataclass(frozen=True)
class Heard:
    """One request as it came, with header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    def form(self) -> dict[str, str]:
        """The fields of a form in the body, none of them repeated or empty."""
        fields = parse_qsl(self.body.decode(), strict_parsing=True, keep_blank_values=True)
        assert len(dict(fields)) == len(fields), "a field stands twice"
        return dict(fields)


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, heard: list[Heard]) -> None:
        self.received = b""
        self.sent = 0
        self._sock = sock
        self._heard = heard

    def hear(self) -> Heard:
        """Read one request, and record it. Raises ConnectionError if the other end has closed."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += self._receive()
        method, target, _ = first.split(" ")
        heard = Heard(method, target, headers, body)
        self._heard.append(heard)
        return heard

    def send(self, data: bytes) -> None:
        """Send this much."""
        self._sock.sendall(data)
        self.sent += len(data)

    def drip(self, data: bytes, seconds: float = 0.02) -> None:
        """Send one byte after another, `seconds` apart, while the other end is connected."""
        for at in range(len(data)):
            self.send(data[at : at + 1])
            if select.select([self._sock], [], [], seconds)[0]:
                return

    def wait(self) -> None:
        """Send nothing until the other end has closed."""
        while True:
            self._receive()

    @contextmanager
    def speaking_tls(self, tls: ssl.SSLContext) -> Iterator[None]:
        """Start TLS only now."""
        with tls.wrap_socket(self._sock, True) as self._sock:
            yield

    def finish(self) -> None:
        """Send nothing more, but keep reading."""
        self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Reset the connection, as after a crash."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def _receive(self) -> bytes:
        piece = self._sock.recv(PIECE)
        if not piece:
            raise ConnectionError

        self.received += piece
        return piece


Script = Callable[[Peer], object]


class Wire(socketserver.ThreadingTCPServer):
    """A running server. Its record is complete after it has stopped."""

    request_queue_size = 128

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.heard: list[Heard] = []
        self.peers: list[Peer] = []
        self._tls = tls
        self._sockets: list[socket.socket] = []
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)

    @property
    def host(self) -> str:
        """Its address, as host:port."""
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        """Its URL."""
        return f"{'https' if self._tls else 'http'}://{self.host}"

    def hang_up(self) -> None:
        """Close every connection."""
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def get_request(self) -> tuple[socket.socket, Any]:
        sock, address = super().get_request()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # send each write at once
        if self._tls:
            sock = self._tls.wrap_socket(sock, True, do_handshake_on_connect=False)
        self._sockets.append(sock)
        return sock, address

    def finish_request(self, request: Any, client_address: Any) -> None:
        # In many tests the client gives up early.
        with suppress(OSError):
            if self._tls:
                request.do_handshake()
            peer = Peer(request, self.heard)
            self.peers.append(peer)
            self.script(peer)


@contextmanager
def wire(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[Wire]:
    """A server that runs `script` on each connection, over TLS if a context is given."""
    with Wire(script, tls) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            server.hang_up()
            thread.join()


def answer(
    body: bytes = b"",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> bytes:
    """A whole answer."""
    sent = {"Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"HTTP/1.1 {status} Such\r\n{lines}\r\n".encode() + body


def answering(*answers: bytes) -> Script:
    """Send these responses in turn, over all connections; the last one again and again."""
    left = list(answers)

    def script(peer: Peer) -> None:
        while True:
            peer.hear()
            peer.send(left.pop(0) if len(left) > 1 else left[0])

    return script
