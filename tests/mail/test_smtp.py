"""How a mail goes out: TLS, the password, and addresses."""

import ssl
from contextlib import suppress
from pathlib import Path

import pytest
import trustme
from sqlalchemy import update

from app.accounts.models import User
from app.database.db import db
from app.mail.models import MailState
from app.mail.sending import DELAY_SECONDS
from app.mail.smtp import NotTaken, Refused, envelope_address, handing_in
from app.settings.mail_server import MailServer as Server
from app.settings.mail_server import Tls
from tests.support.connected import Connected
from tests.support.mail_server import PASSWORD, USER, MailServer, starttls
from tests.support.mailing import ADA, end, held_time, states, work


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """An authority that this process trusts."""
    authority = trustme.CA()
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return authority


def context_of(authority: trustme.CA) -> ssl.SSLContext:
    """What a server on this machine needs for TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def server_at(post: MailServer, tls: Tls, password: str | None = PASSWORD) -> Server:
    """The mail server in the settings."""
    user = USER if password else None
    return Server("127.0.0.1", post.port, tls, user, password, "app@x.example", "")


def test_starttls_comes_before_the_password(post: MailServer, authority: trustme.CA) -> None:
    """The certificate is checked; user and password are shown to nobody before."""
    with post.listening(**starttls(context_of(authority), post)):
        with handing_in(server_at(post, Tls.STARTTLS), ADA) as send:
            send(b"Subject: x\r\n\r\n.a line that begins with a dot\r\n")
        with (
            pytest.raises(NotTaken, match="535"),
            handing_in(server_at(post, Tls.STARTTLS, "another"), ADA),
        ):
            pass

    (got,) = post.received
    assert (got.tls, got.user) == (True, USER)
    assert got.content.endswith(b"\r\n.a line that begins with a dot\r\n")


def test_nothing_is_said_to_a_stranger(
    post: MailServer, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where TLS is not offered, nor where the certificate is of another authority."""
    with (
        post.listening(),
        pytest.raises(NotTaken, match="NotSupported"),
        handing_in(server_at(post, Tls.STARTTLS, None), ADA),
    ):
        pass
    with (
        post.listening(**starttls(context_of(trustme.CA()), post)),
        pytest.raises(NotTaken, match="SSLCert"),
        handing_in(server_at(post, Tls.STARTTLS), ADA),
    ):
        pass

    assert post.received == []


def test_tls_from_the_first_byte(post: MailServer, authority: trustme.CA) -> None:
    """As smtps:// says."""
    context = context_of(authority)
    with (
        post.listening(ssl_context=context),
        handing_in(server_at(post, Tls.IMPLICIT, None), ADA) as send,
    ):
        send(b"Subject: x\r\n\r\n")

    assert post.received


@pytest.mark.parametrize(
    ("address", "envelope"),
    [
        ("ada@workshop.example", "ada@workshop.example"),
        ("o'hara+x@straße.example", "o'hara+x@xn--strae-oqa.example"),
        ("zoë@müller.example", "zoë@xn--mller-kva.example"),
        ("a,b@workshop.example", None),
        ('a"b@workshop.example', None),
        ("a>b@workshop.example", None),
        ("ada@-.example", None),
    ],
)
def test_an_address_is_written_as_mail_servers_take_it(address: str, envelope: str | None) -> None:
    """What would be read as another address, or as two, is refused."""
    with suppress(Refused):
        assert envelope_address(address) == envelope
        return
    assert envelope is None


def respell(whose: Connected, address: str) -> None:
    """The user has this address."""
    with whose.app.app_context():
        db.session.execute(update(User).values(email=address))
        db.session.commit()


@held_time
@pytest.mark.one_database
def test_an_address_that_is_none_fails_the_mail(connected: Connected, taking: MailServer) -> None:
    """Nothing of it reaches the mail server or a header."""
    respell(connected, "ada@workshop.example>\r\nRCPT TO:<eve@elsewhere.example")
    end(connected)
    work(connected, DELAY_SECONDS)

    assert states(connected) == [MailState.FAILED]
    assert taking.received == []


@held_time
@pytest.mark.one_database
def test_letters_beyond_ascii_go_where_they_are_taken(
    connected: Connected, post: MailServer
) -> None:
    """With SMTPUTF8 where the mail server has it; else the mail has failed."""
    respell(connected, "zoë@müller.example")
    end(connected)
    with post.listening(enable_SMTPUTF8=True):
        work(connected, DELAY_SECONDS)
    (got,) = post.received
    assert got.to == ("zoë@xn--mller-kva.example",)

    connected.reconnect()
    end(connected)
    with post.listening(enable_SMTPUTF8=False):
        work(connected, DELAY_SECONDS)
    assert states(connected) == [MailState.SENT, MailState.FAILED]
