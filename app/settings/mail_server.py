"""Reads SMTP_URL and MAIL_FROM: the server that takes our mail, and who it is from."""

import re
from dataclasses import dataclass, field
from email.utils import getaddresses
from enum import StrEnum
from urllib.parse import SplitResult, unquote, urlsplit

from app.settings.parsing import LOOPBACK_HOSTS, Reader

PORTS = {"smtp": 587, "smtps": 465}
ADDRESS = re.compile(
    r"[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*@[a-z0-9-]+(\.[a-z0-9-]+)*",
    re.IGNORECASE | re.ASCII,
)


class Tls(StrEnum):
    """How a connection to the mail server is encrypted."""

    #: Not at all: the server is on this machine.
    NONE = "none"
    STARTTLS = "starttls"
    #: From its first byte.
    IMPLICIT = "implicit"


@dataclass(frozen=True)
class MailServer:
    """The server that takes our mail, and who it is from."""

    host: str
    port: int
    tls: Tls
    user: str | None
    password: str | None = field(repr=False)
    #: The address that mail is from, and its name or "".
    sender: str
    sender_name: str


def read(reader: Reader) -> MailServer | None:
    """The mail server; None where SMTP_URL is not set: no mail is sent."""
    value, sender = reader.optional("SMTP_URL"), reader.values["MAIL_FROM"]
    if value is None:
        return None

    url = _url(value)
    if url is None:
        reader.fault(
            "SMTP_URL",
            "must be smtp://user:password@host:port or smtps://...: in a password write % as %25, "
            "@ as %40, : as %3A and / as %2F.",
        )
    named = getaddresses([sender])
    if not (sender.isprintable() and len(named) == 1 and ADDRESS.fullmatch(named[0][1])):
        reader.fault("MAIL_FROM", "must be one e-mail address, since SMTP_URL is set.")
        return None

    if url is None:
        return None

    (name, address), host = named[0], url.hostname or ""
    plain = Tls.NONE if host in LOOPBACK_HOSTS else Tls.STARTTLS
    return MailServer(
        host=host,
        port=url.port or PORTS[url.scheme],
        tls=Tls.IMPLICIT if url.scheme == "smtps" else plain,
        user=unquote(url.username) if url.username else None,
        password=unquote(url.password) if url.password else None,
        sender=address,
        sender_name=name,
    )


def _url(value: str) -> SplitResult | None:
    try:
        url = urlsplit(value)
        has_port = url.port != 0
    except ValueError:
        return None
    more = url.path.strip("/") or url.query or url.fragment
    whole = bool(url.username) == bool(url.password)
    return url if url.scheme in PORTS and url.hostname and has_port and whole and not more else None
