"""A real mail server on loopback, which fails as it is told to."""

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
    """One mail that was taken, or at least read to its end."""

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
    """What it has received, and how it answers."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.received: list[Received] = []
        #: The answer to each sender, recipient and text.
        self.to_sender = "250 OK"
        self.to_recipient = "250 OK"
        self.to_text = "250 OK"
        #: Instead of an answer to a text it hangs up.
        self.drops = False
        #: Called when a recipient was named, and when a text was read.
        self.at_recipient: Callable[[], object] = lambda: None
        self.at_text: Callable[[], object] = lambda: None
        #: Set to let go of what waits in `hold`.
        self.go = threading.Event()
        self.held = threading.Event()

    def hold(self) -> None:
        """Wait, as `at_recipient` or `at_text`, until the test sets `go`."""
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
        """Whether these are the user and the password."""
        right = (auth.login, auth.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=False, auth_data=auth)

    @contextmanager
    def listening(self, **options: Any) -> Iterator[None]:
        """It listens within the context."""
        controller = Controller(self, hostname="127.0.0.1", port=self.port, **options)
        controller.start()
        try:
            yield
        finally:
            self.go.set()
            controller.stop()


@contextmanager
def mail_server() -> Iterator[MailServer]:
    """A mail server with a reserved port, not started yet."""
    with reserved_port() as port:
        yield MailServer(port)


def starttls(context: ssl.SSLContext, server: MailServer) -> dict[str, Any]:
    """The options of a server that asks for STARTTLS, then for a password."""
    return {
        "tls_context": context,
        "require_starttls": True,
        "auth_required": True,
        "authenticator": server.authenticate,
    }
