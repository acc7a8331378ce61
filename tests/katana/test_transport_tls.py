"""The transport: certificates are verified, and the environment changes nothing."""

import ssl
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.support.transport import SECONDS, SECRET, ask, never_answers, served_with
from tests.support.wire import Peer, Script, answer, answering, wire

HOUR = timedelta(hours=1)


def test_the_right_certificate_is_good(authority: tuple[trustme.CA, Path]) -> None:
    """S-25: with the certificate of a known authority for the right host, the answer comes."""
    ca, path = authority
    with wire(answering(answer(b"good")), served_with(ca.issue_cert("127.0.0.1"))) as server:
        assert ask(server.url, ca=path) == "good"

    assert server.heard[0].form() == {"s": SECRET}


def test_slow_connecting_takes_no_time_from_the_answer(authority: tuple[trustme.CA, Path]) -> None:
    """R-2: else a request would leave with no time left, and we would lose its answer ourselves."""
    ca, path = authority
    tls = served_with(ca.issue_cert("127.0.0.1"))

    def takes_its_time(peer: Peer) -> None:
        time.sleep(SECONDS * 1.5)
        with peer.speaking_tls(tls):
            peer.hear()
            peer.send(answer(b"good"))

    with wire(takes_its_time) as server:
        assert ask(f"https://{server.host}", SECONDS, ca=path) == "good"


CERTIFICATES: dict[str, Callable[[trustme.CA], trustme.LeafCert]] = {
    "of an unknown authority": lambda _: trustme.CA().issue_cert("127.0.0.1"),
    "for another host": lambda ca: ca.issue_cert("katana.test"),
    "run out": lambda ca: ca.issue_cert("127.0.0.1", not_after=datetime.now(UTC) - HOUR),
    "not yet valid": lambda ca: ca.issue_cert("127.0.0.1", not_before=datetime.now(UTC) + HOUR),
}


@pytest.mark.parametrize("wrong", CERTIFICATES)
def test_a_wrong_certificate_gets_nothing(authority: tuple[trustme.CA, Path], wrong: str) -> None:
    """S-25: not a byte of the request leaves for whoever cannot show who they are."""
    ca, path = authority
    with wire(answering(answer(b"good")), served_with(CERTIFICATES[wrong](ca))) as server:
        assert ask(server.url, ca=path) == "NeverSent"

    assert b"".join(peer.received for peer in server.peers) == b""


def test_an_old_version_of_tls_gets_nothing(authority: tuple[trustme.CA, Path]) -> None:
    """S-25: TLS 1.1 is not spoken, the right certificate or not (RFC 8996)."""
    ca, path = authority
    old = served_with(ca.issue_cert("127.0.0.1"))
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with wire(answering(answer(b"good")), old) as server:
        assert ask(server.url, ca=path) == "NeverSent"

    assert b"".join(peer.received for peer in server.peers) == b""


def test_an_authority_of_nobodys_is_not_trusted(authority: tuple[trustme.CA, Path]) -> None:
    """S-25: by default only the public authorities count."""
    ca, _ = authority
    with wire(answering(answer(b"good")), served_with(ca.issue_cert("127.0.0.1"))) as server:
        assert ask(server.url) == "NeverSent"


@pytest.mark.parametrize("script", [never_answers, answering(answer(b"good"))])
def test_a_server_without_tls_gets_nothing(script: Script) -> None:
    """S-25: https to a server that speaks plain http, or nothing, ends before the request."""
    with wire(script) as server:
        assert ask(f"https://{server.host}", SECONDS) == "NeverSent"

    assert not any(SECRET.encode() in peer.received for peer in server.peers)


def test_nothing_in_the_environment_leads_a_request_astray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-25: neither proxies nor .netrc nor a bundle of certificates that are named there count."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password oak\n")
    netrc.chmod(0o600)
    with ExitStack() as stack:
        proxy = stack.enter_context(wire(answering(answer(b"caught"))))
        server = stack.enter_context(wire(answering(answer(b"good"))))
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.upper(), proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nothing"))

        assert ask(server.url) == "good"

    assert proxy.peers == []
    assert "authorization" not in server.heard[0].headers


def test_a_bundle_in_the_environment_is_not_trusted(
    authority: tuple[trustme.CA, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-25: who can set a variable cannot thereby play Katana."""
    ca, path = authority
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(path))

    with wire(answering(answer(b"good")), served_with(ca.issue_cert("127.0.0.1"))) as server:
        assert ask(server.url) == "NeverSent"
