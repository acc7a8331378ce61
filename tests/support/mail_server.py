"""A real mail server on loopback, with faults."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support.servers import reserved_port

USER, PASSWORD = "app", "p@ss/word:very+private"


@dataclass(frozen=True)
class Received:
    """One mail that was accepted, or at least read to its end."""

    sender: str
    to: tuple[str, ...]
    content: bytes
    tls: bool
    user: str | None

    @property
    def message(self) -> EmailMessage:
        message = message_from_bytes(self.content, policy=default)
        assert isinstance(message, EmailMessage)
        return message


class MailServer:
    """The received mails, and the responses to send."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.received: list[Received] = []
        #: The response to each sender, recipient and text.
        self.to_sender = "250 OK"
        self.to_recipient = "250 OK"
        self.to_text = "250 OK"
        #: Whether it closes the connection instead of responding to a text.
        self.drops = False
        #: Called after a recipient, and after a text.
        self.at_recipient: Callable[[], object] = lambda: None
        self.at_text: Callable[[], object] = lambda: None
        #: Set it to end the wait in `hold`.
        self.go = threading.Event()
        self.held = threading.Event()

    def hold(self) -> None:
        """As `at_recipient` or `at_text`: wait until the test sets `go`."""
        self.held.set()
        self.go.wait(60)

    async def handle_MAIL(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        envelope.mail_from = address
        return self.to_sender

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        await asyncio.to_thread(self.at_recipient)
        envelope.rcpt_tos.append(address)
        return self.to_recipient

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        user = session.auth_data.login.decode() if session.auth_data else None
        self.received.append(
            Received(
                *(envelope.mail_from or "", tuple(envelope.rcpt_tos)),
                *(envelope.original_content or b"", session.ssl is not None, user),
            )
        )
        await asyncio.to_thread(self.at_text)
        if self.drops and server.transport:
            server.transport.abort()
        return self.to_text

    def authenticate(self, _server: Any, _s: Any, _e: Any, _m: str, auth: LoginPassword) -> Any:
        """Check user and password."""
        right = (auth.login, auth.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=False, auth_data=auth)

    @contextmanager
    def listening(self, **options: Any) -> Iterator[None]:
        """Listen within the context."""
        controller = Controller(self, hostname="127.0.0.1", port=self.port, **options)
        controller.start()
        try:
            yield
        finally:
            self.go.set()
            controller.stop()


@contextmanager
def mail_server() -> Iterator[MailServer]:
    """A mail server with a reserved port, not started."""
    with reserved_port() as port:
        yield MailServer(port)


def starttls(context: ssl.SSLContext, server: MailServer) -> dict[str, Any]:
    """The options of a server that requires STARTTLS, then a password."""
    return {
        "tls_context": context,
        "require_starttls": True,
        "auth_required": True,
        "authenticator": server.authenticate,
    }
