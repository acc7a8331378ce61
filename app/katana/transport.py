"""HTTP requests that end: by a deadline, within a size, at one place, telling whether they left.

What `requests` does alone is not enough here. Its timeout counts from byte to byte, so an answer
that drips never ends; it buffers a body of any size; it follows a 307 with the client secret in its
hands; and its exceptions do not tell a request that never left from one whose answer was lost,
which is the question on which a single-use refresh token depends.
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
LATE_BYTES = 1024 * 1024  # read after the deadline at most; more than a socket's usual buffer


class NeverSent(RequestException):
    """No byte of the request has left."""


class NoAnswer(RequestException):
    """The request has left; its answer came late, broken, too large, or not at all."""


class Stale(NoAnswer):
    """It left on a connection that was kept from an earlier request, and found nobody there.

    That a server has closed what both sides had kept shows only then. What may be sent twice is
    best sent again, on a new connection.
    """


def harden(session: Session, *, body_bytes: int, send_before: float | None = None) -> None:
    """Make every request of `session` one that ends.

    Nothing is sent on a new connection after `send_before`, a moment of `clock.monotonic()`.
    Call it with `timeout=seconds`: from the request's leaving to the last byte of its answer. What
    connecting takes, be it a slow name look-up, does not count: else a request could leave with no
    time left for its answer. Raises NeverSent or NoAnswer and no other request error.

    Cookies are refused: one session serves many users. Proxies, `.netrc` and certificate bundles
    named in the environment are not read, so that nothing there can redirect a secret.
    """
    session.trust_env = False
    session.get_redirect_target = _nowhere  # type: ignore[assignment, method-assign]
    session.headers["User-Agent"] = "connect-to-katana"
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    adapter = _EndingAdapter(body_bytes, send_before)
    session.mount("https://", adapter)
    session.mount("http://", adapter)


def _nowhere(_response: Response) -> None:
    """The target of any redirect: a 307 would carry the client secret to another origin."""


class _EndingAdapter(HTTPAdapter):
    """Sends with one deadline for everything, and reads the whole body before it returns."""

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
        with tracing.request(request.method or "", request.url or "") as answered:
            response = self._send(request, timeout, **kwargs)
            answered(response.status_code)
        return response

    def _send(self, request: PreparedRequest, timeout: float, **kwargs: Any) -> Response:
        seconds = Timeout(connect=CONNECT_SECONDS, read=timeout)
        try:
            response = super().send(request, timeout=seconds, **kwargs)  # type: ignore[arg-type]
        except RequestException as error:
            raise _outcome(error)(f"{request.method} {_place(request)}") from None
        try:
            self._read(response)
        except (HTTPError, RequestException, OSError, ValueError) as error:
            raise NoAnswer(f"{request.method} {_place(request)}: {type(error).__name__}") from None
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


def _place(request: PreparedRequest) -> str:
    return (request.url or "").partition("?")[0]


def _outcome(error: RequestException) -> type[RequestException]:
    cause = error.args[0] if error.args else None
    if isinstance(cause, ProtocolError) and isinstance(cause.args[-1], _NobodyThere):
        return Stale
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return NeverSent if isinstance(reason, _ConnectFailed) else NoAnswer


class _ConnectFailed(NewConnectionError):
    """Name look-up, connect or TLS handshake failed, or took too long."""


class _NobodyThere(ConnectionError):
    """A connection that had answered before was closed without a byte of this answer."""


class _Ending:
    """For a connection: nothing is sent after a late connect, and reading knows the deadline."""

    sock: socket.socket
    send_before: float | None = None
    kept = False

    def connect(self) -> None:
        self.kept = False
        try:
            super().connect()  # type: ignore[misc]
        except (HTTPError, OSError, ValueError) as error:
            raise _ConnectFailed(self, type(error).__name__) from None  # type: ignore[arg-type]
        # This late, since no timeout bounds a name look-up, and a process may have slept: a request
        # sent now would outlive the lease that it is sent under.
        if self.send_before is not None and monotonic() > self.send_before:
            self.close()  # type: ignore[attr-defined]
            raise _ConnectFailed(self, "late")  # type: ignore[arg-type]

    def getresponse(self) -> Any:
        try:
            response = super().getresponse()  # type: ignore[misc]
        except ConnectionError:
            if self.kept:
                raise _NobodyThere from None
            raise
        self.kept = True
        return response

    def response_class(self, sock: socket.socket, *args: Any, **kwargs: Any) -> HTTPResponse:
        # urllib3 sets the socket's timeout to what the answer may take right before it asks for it.
        return HTTPResponse(_UntilDeadline(sock), *args, **kwargs)  # type: ignore[arg-type]


class _Connection(_Ending, HTTPConnection):  # type: ignore[misc]
    pass


class _TlsConnection(_Ending, HTTPSConnection):  # type: ignore[misc]
    pass


class _EndingPool:
    """For a pool: its connections know until when they may send."""

    send_before: float | None = None

    def _new_conn(self) -> Any:
        connection = super()._new_conn()  # type: ignore[misc]
        connection.send_before = self.send_before
        return connection


class _Pool(_EndingPool, HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(_EndingPool, HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _UntilDeadline(io.RawIOBase):
    """A socket's bytes: waits for them until a deadline, then reads what has already arrived.

    The deadline is for the peer. A process that was stopped for a while (a frozen container, a
    live migration) finds a response that arrived in time, and reads it late.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # A clock that stops during suspend: the peer had no time to respond in then.
        self._deadline = time.monotonic() + (sock.gettimeout() or 0)
        self._late_bytes = 0
        self._file = sock.makefile(
            "rb", buffering=0
        )  # keeps the socket open until the body is read

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
        except (BlockingIOError, SSLWantReadError):  # nothing has arrived; the second by TLS
            raise TimeoutError("deadline") from None
        self._late_bytes += received
        return received

    def close(self) -> None:
        self._file.close()
        super().close()
