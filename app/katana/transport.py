"""HTTP with limits: a total deadline, a maximum size, no redirects, and precise errors.

`requests` alone does not have these. Its timeout restarts with each byte, so a slow response never
ends. It buffers a body of any size. It follows a 307 and sends the client secret along. Its
exceptions do not show whether the request was sent, which matters for a single-use refresh token.
"""

import io
import socket
import time
from http.client import HTTPResponse
from http.cookiejar import DefaultCookiePolicy
from ssl import SSLWantReadError
from typing import Any

from requests import PreparedRequest, RequestException, Response, Session
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError, ProtocolError

from app.database.clock import monotonic
from app.katana import tracing

CONNECT_SECONDS = 4
LATE_BYTES = 1024 * 1024  # at most this much is read after the deadline; more than a socket buffers


class NeverSent(RequestException):
    """No byte of the request was sent."""


class NoAnswer(RequestException):
    """The request was sent; the response was late, broken, too large, or missing."""


class Stale(NoAnswer):
    """Sent on a kept-alive connection that the server had closed.

    A client notices this only when it sends. A request that may be sent twice should be sent again,
    on a new connection.
    """


def harden(session: Session, *, body_bytes: int, send_before: float | None = None) -> None:
    """Apply the limits of this module to every request of `session`.

    Nothing is sent on a new connection after `send_before`, a time on `clock.monotonic()`. Each
    request needs `timeout=seconds`: from sending the request to the last byte of the response. The
    time to connect and to resolve the name does not count, so that the response always has its full
    time. Requests raise NeverSent or NoAnswer and no other RequestException.

    Cookies are refused, because one session serves many users. Proxies, `.netrc` and certificate
    bundles of the environment are ignored: they could redirect a secret.
    """
    session.trust_env = False
    session.get_redirect_target = _no_target  # type: ignore[assignment, method-assign]
    session.headers["User-Agent"] = "connect-to-katana"
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    adapter = _DeadlineAdapter(body_bytes, send_before)
    session.mount("https://", adapter)
    session.mount("http://", adapter)


def _no_target(_response: Response) -> None:
    """No redirect is followed: a 307 would send the client secret to another origin."""


class _DeadlineAdapter(HTTPAdapter):
    """Sends with one deadline for the whole response, and reads the body before it returns."""

    def __init__(self, body_bytes: int, send_before: float | None) -> None:
        self.body_bytes = body_bytes
        self.send_before = send_before
        super().__init__(pool_connections=10, pool_maxsize=50, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        pool.send_before = self.send_before  # type: ignore[attr-defined]
        return pool

    def send(  # type: ignore[override]
        self, request: PreparedRequest, *, timeout: float, **kwargs: Any
    ) -> Response:
        with tracing.request(request.method or "", request.url or "") as set_status:
            response = self._send(request, timeout, **kwargs)
            set_status(response.status_code)
        return response

    def _send(self, request: PreparedRequest, timeout: float, **kwargs: Any) -> Response:
        seconds = Timeout(connect=CONNECT_SECONDS, read=timeout)
        try:
            response = super().send(request, timeout=seconds, **kwargs)  # type: ignore[arg-type]
        except RequestException as error:
            raise _error_class(error)(f"{request.method} {_url_without_query(request)}") from None
        try:
            self._read(response)
        except (HTTPError, RequestException, OSError, ValueError) as error:
            raise NoAnswer(
                f"{request.method} {_url_without_query(request)}: {type(error).__name__}"
            ) from None
        finally:
            response.close()
        return response

    def _read(self, response: Response) -> None:
        body = bytearray()
        for piece in response.iter_content(16 * 1024):
            body += piece
            if len(body) > self.body_bytes:
                raise ValueError("too large")
        response._content = bytes(body)


def _url_without_query(request: PreparedRequest) -> str:
    return (request.url or "").partition("?")[0]


def _error_class(error: RequestException) -> type[RequestException]:
    cause = error.args[0] if error.args else None
    if isinstance(cause, ProtocolError) and isinstance(cause.args[-1], _ClosedMeanwhile):
        return Stale
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return NeverSent if isinstance(reason, _ConnectFailed) else NoAnswer


class _ConnectFailed(NewConnectionError):
    """The name look-up, the connect or the TLS handshake failed or took too long."""


class _ClosedMeanwhile(ConnectionError):
    """A connection that was used before was closed before the first byte of this response."""


class _SendDeadlineConnection:
    """Connection mixin: sends nothing after `send_before`, and reads until the deadline."""

    sock: socket.socket
    send_before: float | None = None
    was_used = False

    def connect(self) -> None:
        self.was_used = False
        try:
            super().connect()  # type: ignore[misc]
        except (HTTPError, OSError, ValueError) as error:
            raise _ConnectFailed(self, type(error).__name__) from None  # type: ignore[arg-type]
        # Checked after the connect, because no timeout limits a name look-up, and the process may
        # have been suspended: the response to a request sent now could come after the lease.
        if self.send_before is not None and monotonic() > self.send_before:
            self.close()  # type: ignore[attr-defined]
            raise _ConnectFailed(self, "late")  # type: ignore[arg-type]

    def getresponse(self) -> Any:
        try:
            response = super().getresponse()  # type: ignore[misc]
        except ConnectionError:
            if self.was_used:
                raise _ClosedMeanwhile from None
            raise
        self.was_used = True
        return response

    def response_class(self, sock: socket.socket, *args: Any, **kwargs: Any) -> HTTPResponse:
        # urllib3 sets the read timeout on the socket right before it calls this.
        return HTTPResponse(_DeadlineReader(sock), *args, **kwargs)  # type: ignore[arg-type]


class _Connection(_SendDeadlineConnection, HTTPConnection):  # type: ignore[misc]
    pass


class _TlsConnection(_SendDeadlineConnection, HTTPSConnection):  # type: ignore[misc]
    pass


class _SendDeadlinePool:
    """Pool mixin: passes `send_before` to its connections."""

    send_before: float | None = None

    def _new_conn(self) -> Any:
        connection = super()._new_conn()  # type: ignore[misc]
        connection.send_before = self.send_before
        return connection


class _Pool(_SendDeadlinePool, HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(_SendDeadlinePool, HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket: waits for bytes until a deadline, then reads only what has arrived.

    The deadline limits the peer. If the process was suspended meanwhile (a frozen container, a live
    migration), a response that arrived in time is still read.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # Unlike `clock.monotonic()`, this clock stops during suspend, when nothing can arrive.
        self._deadline = time.monotonic() + (sock.gettimeout() or 0)
        self._late_bytes = 0
        # Keeps the socket open until the body is read.
        self._file = sock.makefile("rb", buffering=0)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left > 0:
            self._sock.settimeout(left)
            return self._sock.recv_into(buffer)

        return self._read_without_waiting(buffer)

    def _read_without_waiting(self, buffer: Any) -> int:
        if self._late_bytes >= LATE_BYTES:
            raise TimeoutError("still sending after the deadline")

        self._sock.settimeout(0)
        try:
            received = self._sock.recv_into(buffer)
        except (BlockingIOError, SSLWantReadError):  # no bytes have arrived (the second: TLS)
            raise TimeoutError("deadline") from None
        self._late_bytes += received
        return received

    def close(self) -> None:
        self._file.close()
        super().close()
