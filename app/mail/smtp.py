"""Send one mail to the mail server: the commands before the text, then the text.

Between the two, the caller stores that the mail server may have the mail. SMTP (RFC 5321) has no
command that checks this later.
"""

import re
import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import idna

from app.settings.mail_server import MailServer, Tls

REPLY_SECONDS = 30.0
#: For the reply to the text, which many servers scan first. A stopped worker has 70 s to end.
TEXT_REPLY_SECONDS = 60.0
#: A local part that needs no quotes (RFC 5321 section 4.1.2, RFC 6531 section 3.3).
LOCAL_PART = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+")

Send = Callable[[bytes], None]


class Refused(Exception):
    """The mail server will never accept this mail."""


class NotTaken(Exception):
    """The mail server has not accepted it, and may accept it later."""


class Unanswered(Exception):
    """The text was sent without a response: the mail server may have accepted it."""


def envelope_address(address: str) -> str:
    """The address in the form that SMTP requires. Raises Refused if it is not valid."""
    local, _, domain = address.rpartition("@")
    if not LOCAL_PART.fullmatch(local):
        raise Refused("the address is not one")

    try:
        return f"{local}@{idna.encode(domain, uts46=True).decode()}"
    except idna.IDNAError:
        raise Refused("the address is not one") from None


@contextmanager
def handing_in(server: MailServer, to: str) -> Iterator[Send]:
    """Send the commands before the text. The caller then sends the text, or leaves the block.

    Raises Refused, NotTaken or Unanswered.
    """
    to = envelope_address(to)
    with _failing(NotTaken):
        smtp = _connected(server)
    try:
        with _failing(NotTaken):
            _sign_in(smtp, server)
            _name_addresses(smtp, server.sender, to)
        yield lambda text: _send(smtp, text)
    finally:
        with suppress(OSError):
            smtp.putcmd("QUIT")  # no wait for the reply: the result is stored first
        smtp.close()


def _connected(server: MailServer) -> smtplib.SMTP:
    if server.tls is Tls.IMPLICIT:
        return smtplib.SMTP_SSL(
            server.host, server.port, timeout=REPLY_SECONDS, context=ssl.create_default_context()
        )

    return smtplib.SMTP(server.host, server.port, timeout=REPLY_SECONDS)


def _sign_in(smtp: smtplib.SMTP, server: MailServer) -> None:
    smtp.ehlo_or_helo_if_needed()
    if server.tls is Tls.STARTTLS:  # raises if it is not offered
        smtp.starttls(context=ssl.create_default_context())
        smtp.ehlo()
    if server.user and server.password:
        smtp.login(server.user, server.password)


def _name_addresses(smtp: smtplib.SMTP, sender: str, to: str) -> None:
    options = []
    if not to.isascii():
        if not smtp.has_extn("smtputf8"):
            raise Refused("the mail server does not take letters beyond ASCII")
        options = ["SMTPUTF8", "BODY=8BITMIME"]
    code, _ = smtp.mail(sender, options)
    if not _is(2, code):  # a wrong MAIL_FROM or a missing password can be corrected: not Refused
        raise NotTaken(f"{code} to the sender")

    _expect(2, smtp.docmd("RCPT", f"TO:<{to}>"))


def _send(smtp: smtplib.SMTP, text: bytes) -> None:
    with _failing(NotTaken):
        _expect(3, smtp.docmd("DATA"))
    with _failing(Unanswered):
        if smtp.sock:
            smtp.sock.settimeout(TEXT_REPLY_SECONDS)
        # A line with only a dot ends the text (RFC 5321 section 4.5.2).
        smtp.send(re.sub(rb"(?m)^\.", b"..", text) + b".\r\n")
        reply = smtp.getreply()
    _expect(2, reply)


def _expect(digit: int, reply: tuple[int, bytes]) -> None:
    """Raises Refused for 5xx, else NotTaken, without the server's text: it may have the address."""
    code, _ = reply
    if _is(digit, code):
        return

    raise Refused(f"{code}") if _is(5, code) else NotTaken(f"{code}")


def _is(digit: int, code: int) -> bool:
    """Whether the first digit, the kind of reply, is this one (RFC 5321 section 4.2.1)."""
    return code // 100 == digit


@contextmanager
def _failing(kind: type[Exception]) -> Iterator[None]:
    """Raises `kind` for errors of the network and the sign-in, without the server's text."""
    try:
        yield
    except smtplib.SMTPResponseException as error:
        raise kind(f"{type(error).__name__} {error.smtp_code}") from None
    except (OSError, ValueError) as error:  # smtplib's own errors are OSErrors
        raise kind(type(error).__name__) from None
