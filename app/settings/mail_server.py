"""Parses SMTP_URL and MAIL_FROM: the mail server, and the sender of our mail."""

import re
from dataclasses import dataclass, field
from email.utils import getaddresses
from enum import StrEnum
from urllib.parse import unquote, urlsplit

from app.settings.parsing import LOOPBACK_HOSTS, Fault

PORTS = {"smtp": 587, "smtps": 465}
ADDRESS = re.compile(
    r"[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*@[a-z0-9-]+(\.[a-z0-9-]+)*",
    re.IGNORECASE | re.ASCII,
)


class Tls(StrEnum):
    """How a connection to the mail server is encrypted."""

    #: Not encrypted: the server is on this machine.
    NONE = "none"
    STARTTLS = "starttls"
    #: TLS from the first byte.
    IMPLICIT = "implicit"


@dataclass(frozen=True)
class MailServer:
    """The mail server, and the sender of our mail."""

    host: str
    port: int
    tls: Tls
    user: str | None
    password: str | None = field(repr=False)
    #: The address of the sender, and the name or "".
    sender: str = ""
    sender_name: str = ""


def server(smtp_url: str) -> MailServer:
    """The server at `smtp_url`. MAIL_FROM sets the sender."""
    try:
        url = urlsplit(smtp_url)
        has_port = url.port != 0
    except ValueError:
        url, has_port = urlsplit(""), False
    host, more = url.hostname, url.path.strip("/") or url.query or url.fragment
    whole = bool(url.username) == bool(url.password)
    if not (url.scheme in PORTS and host and has_port and whole and not more):
        raise Fault(
            "must be smtp://user:password@host:port or smtps://...: in a password write % as %25, "
            "@ as %40, : as %3A and / as %2F."
        )

    plain = Tls.NONE if host in LOOPBACK_HOSTS else Tls.STARTTLS
    return MailServer(
        host=host,
        port=url.port or PORTS[url.scheme],
        tls=Tls.IMPLICIT if url.scheme == "smtps" else plain,
        user=unquote(url.username) if url.username else None,
        password=unquote(url.password) if url.password else None,
    )


def sender(mail_from: str) -> tuple[str, str]:
    """The name and the address in `mail_from`."""
    named = getaddresses([mail_from])
    if not (mail_from.isprintable() and len(named) == 1 and ADDRESS.fullmatch(named[0][1])):
        raise Fault("must be one e-mail address, since SMTP_URL is set.")

    return named[0]
