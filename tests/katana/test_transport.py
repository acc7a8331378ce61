"""The transport: every request ends, goes to one place, and is known to have left or not."""

import gzip
import socket
import threading
import traceback
from pathlib import Path

import pytest
import trustme

from app.database.clock import monotonic
from app.katana import transport
from app.katana.transport import NoAnswer, Stale
from tests.support.transport import (
    BODY_BYTES,
    LONG,
    SECONDS,
    SECRET,
    ask,
    never_answers,
    new_session,
    served_with,
)
from tests.support.wire import Peer, Script, answer, answering, wire


def test_a_good_answer_comes_through() -> None:
    """The body arrives at the server, and its answer here."""
    with wire(answering(answer(b"good"))) as server:
        assert ask(server.url) == "good"

    (heard,) = server.heard
    assert heard.form() == {"s": SECRET}


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    """S-26: whoever is named in a Location gets nothing, the caller gets the redirect."""
    with wire(answering(answer(b"caught"))) as other:
        to_other = answer(b"moved", status, {"Location": f"{other.url}/oauth/token"})
        with wire(answering(to_other)) as server:
            assert ask(server.url) == "moved"

    assert other.peers == []


def drips_headers(peer: Peer) -> None:
    """Never come to the end of the headers."""
    peer.hear()
    peer.drip(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"." * 10_000)


def drips_body(peer: Peer) -> None:
    """Never come to the end of the body."""
    peer.hear()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
    peer.drip(b"." * 10_000)


def drips_chunks(peer: Peer) -> None:
    """Never come to the last chunk."""
    peer.hear()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    peer.drip(b"1\r\n.\r\n" * 10_000)


def stops_in_the_body(peer: Peer) -> None:
    """Fall silent after half an answer."""
    peer.hear()
    peer.send(answer(b"half an answer")[:-7])
    peer.wait()


def goes_on_asking(peer: Peer) -> None:
    """Say for ever that the answer is still to come."""
    peer.hear()
    while True:
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize(
    "script",
    [never_answers, drips_headers, drips_body, drips_chunks, stops_in_the_body, goes_on_asking],
)
def test_every_request_ends(script: Script) -> None:
    """S-27: one deadline for everything, however slowly something comes; the request has left."""
    with wire(script) as server:
        assert ask(server.url, SECONDS) == "NoAnswer"

    assert SECRET.encode() in server.peers[0].received


SPLIT = {
    "header and body": [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"good"],
    "two parts of the body": [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngo", b"od"],
    "chunks": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        *(b"2\r\ngo\r\n", b"2\r\nod\r\n", b"0\r\n\r\n"),
    ],
    "many parts": [
        *(b"HTTP/1.1 200 OK\r\n", b"Content-Length: 4\r\n", b"\r\n"),
        *(b"g", b"o", b"o", b"d"),
    ],
    "up to the end": [b"HTTP/1.0 200 OK\r\n\r\n", b"good"],
}


@pytest.mark.parametrize("parts", SPLIT.values(), ids=SPLIT)
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_what_has_arrived_is_read_however_late(
    authority: tuple[trustme.CA, Path],
    monkeypatch: pytest.MonkeyPatch,
    parts: list[bytes],
    tls: bool,
) -> None:
    """R-2: a process that was stopped past the deadline reads the response that lies in its socket.

    Of the same kind: a frozen container, a live migration, a swap storm; the parts are TLS records
    or TCP segments.
    """
    ca, path = authority
    sent = threading.Event()

    def responds(peer: Peer) -> None:
        peer.hear()
        for part in parts:
            peer.send(part)
        if parts[0].startswith(b"HTTP/1.0"):
            peer.finish()
        sent.set()
        peer.wait()

    class Late(transport._DeadlineReader):
        def __init__(self, sock: socket.socket) -> None:
            super().__init__(sock)
            assert sent.wait(LONG)
            self._deadline = 0

    monkeypatch.setattr(transport, "_DeadlineReader", Late)
    context = served_with(ca.issue_cert("127.0.0.1")) if tls else None
    with wire(responds, context) as server:
        assert ask(server.url, ca=path if tls else None) == "good"


def test_late_reading_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """S-27: a peer that goes on sending after the deadline is not read without an end."""
    monkeypatch.setattr(transport, "LATE_BYTES", 4096)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"." * 3 * 4096)
        ours.settimeout(0.0)
        late = transport._DeadlineReader(ours)

        assert late.readinto(bytearray(4096)) == 4096
        with pytest.raises(TimeoutError):
            late.readinto(bytearray(4096))
        late.close()


def crashes_at(at: str) -> Script:
    """Reset the connection at a point of the answer."""

    def script(peer: Peer) -> None:
        peer.hear()
        whole = answer(b"good")
        until = {"in the status": 5, "in the headers": 30, "in the body": len(whole) - 2}
        peer.send(whole[: until.get(at, 0)])
        peer.reset()

    return script


@pytest.mark.parametrize("at", ["once asked", "in the status", "in the headers", "in the body"])
def test_a_connection_that_breaks_is_no_answer(at: str) -> None:
    """R-2: once it was asked nobody can tell what it did, so the request counts as sent."""
    with wire(crashes_at(at)) as server:
        assert ask(server.url) == "NoAnswer"

    assert len(server.peers) == 1, "it was sent a second time"


def test_a_kept_connection_that_was_closed_is_told_apart() -> None:
    """What comes again on a new connection may be worth a second try; that is for others to say."""

    def answers_once(peer: Peer) -> None:
        peer.hear()
        peer.send(answer(b"good"))
        peer.hear()

    with wire(answers_once) as server, new_session() as session:
        url = f"{server.url}/oauth/token"
        assert session.post(url, timeout=LONG).text == "good"
        with pytest.raises(Stale):
            session.post(url, timeout=LONG)
        assert session.post(url, timeout=LONG).text == "good"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n\r\n",
        b"good",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nno length\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\ngzip",
    ],
)
def test_a_broken_answer_is_no_answer(raw: bytes) -> None:
    """S-28: what breaks the rules of HTTP, or its own promises, is told by one error."""

    def script(peer: Peer) -> None:
        peer.hear()
        peer.send(raw)

    with wire(script) as server:
        assert ask(server.url) == "NoAnswer"


def test_a_huge_body_is_not_read_to_its_end() -> None:
    """S-28: fifty megabytes are given up soon after the first 64 KiB."""
    huge = 50 * 1024 * 1024

    def script(peer: Peer) -> None:
        peer.hear()
        peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {huge}\r\n\r\n".encode())
        for _ in range(huge // BODY_BYTES):
            peer.send(bytes(BODY_BYTES))

    with wire(script) as server:
        assert ask(server.url) == "NoAnswer"

    assert server.peers[0].sent < huge / 2


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip"])
def test_a_body_that_swells_is_given_up(encoding: str) -> None:
    """S-28: fifty megabytes packed into few kilobytes count as what they unpack to."""
    packed = gzip.compress(bytes(50 * 1024 * 1024), 1)
    if encoding == "gzip, gzip":
        packed = gzip.compress(packed)

    with wire(answering(answer(packed, headers={"Content-Encoding": encoding}))) as server:
        assert ask(server.url) == "NoAnswer"


def test_a_body_of_just_the_size_is_read() -> None:
    """The bound is what is allowed, one byte more is not."""
    just, more = (answer(b"." * size) for size in (BODY_BYTES, BODY_BYTES + 1))

    with wire(answering(just, more)) as server:
        assert ask(server.url) == "." * BODY_BYTES
        assert ask(server.url) == "NoAnswer"


@pytest.mark.parametrize("headers", [b"X-More: 1\r\n", b"X-Long-" + b"." * 1000])
def test_headers_without_end_are_given_up(headers: bytes) -> None:
    """S-28: neither many headers nor a long one are read for ever."""

    def script(peer: Peer) -> None:
        peer.hear()
        peer.send(b"HTTP/1.1 200 OK\r\n")
        for _ in range(1_000_000):
            peer.send(headers)

    with wire(script) as server:
        assert ask(server.url) == "NoAnswer"


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"])
def test_an_error_names_the_place_and_no_more(raw: bytes) -> None:
    """S-39: method, host and path help; query, body and headers could hold a secret."""

    def script(peer: Peer) -> None:
        peer.hear()
        peer.send(raw)

    with wire(script) as server, new_session() as session, pytest.raises(NoAnswer) as told:
        session.post(
            f"{server.url}/oauth/token?q={SECRET}",
            data={"s": SECRET},
            headers={"Authorization": SECRET},
            timeout=LONG,
        )

    said = "".join(traceback.format_exception(told.value))
    assert f"POST {server.url}/oauth/token" in said
    assert SECRET not in said


def test_a_closed_port_is_never_sent() -> None:
    """R-3: where nobody listens nothing has left."""
    with wire(never_answers) as server:
        url = server.url

    assert ask(url) == "NeverSent"


def test_a_name_that_is_not_known_is_never_sent() -> None:
    """R-3: nothing has left before the address is known (RFC 6761: .invalid never is)."""
    assert ask("http://katana.invalid") == "NeverSent"


def test_after_its_moment_nothing_is_sent() -> None:
    """R-7: who is late does not send, even with the connection already made."""
    with wire(never_answers) as server:
        session = new_session(send_before=monotonic() - 1)
        assert ask(server.url, session=session) == "NeverSent"

    assert b"".join(peer.received for peer in server.peers) == b""


def test_before_its_moment_it_is_sent() -> None:
    """A moment that is still to come stops nothing."""
    with wire(answering(answer(b"good"))) as server:
        session = new_session(send_before=monotonic() + LONG)
        assert ask(server.url, session=session) == "good"


def test_no_cookie_is_kept() -> None:
    """One session serves many users: what one answer sets, the next request does not bring."""
    sets = answer(b"good", headers={"Set-Cookie": "user=ada; Path=/"})
    with wire(answering(sets)) as server, new_session() as session:
        for _ in range(2):
            session.post(server.url, timeout=LONG)

        assert len(session.cookies) == 0
    assert len(server.heard) == 2
    assert all("cookie" not in heard.headers for heard in server.heard)
