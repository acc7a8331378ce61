"""Receives the app's mail by SMTP and stores it for the ledger. Nothing is forwarded."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from threading import Lock
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope

_MOST_REMEMBERED = 100


@dataclass(frozen=True)
class Received:
    """One mail."""

    n: int
    at: str
    to: tuple[str, ...]
    subject: str
    message_id: str
    text: str


class Mailbox:
    """The latest mails."""

    def __init__(self, now: Callable[[], str]) -> None:
        self._now = now
        self._lock = Lock()
        self._count = 0
        self._mails: deque[Received] = deque(maxlen=_MOST_REMEMBERED)

    def write(self, to: tuple[str, ...], content: bytes) -> None:
        """Add a received mail."""
        message: EmailMessage = message_from_bytes(content, policy=default)
        body = message.get_body(("plain",))
        text = body.get_content() if body else ""
        subject, message_id = str(message["Subject"] or ""), str(message["Message-ID"] or "")
        with self._lock:
            self._count += 1
            self._mails.append(
                Received(self._count, self._now(), to, subject, message_id, str(text))
            )

    def all(self) -> list[Received]:
        """Return the stored mails, oldest first."""
        with self._lock:
            return list(self._mails)


class _Handler:
    """Accepts every mail."""

    def __init__(self, mailbox: Callable[[], Mailbox]) -> None:
        self._mailbox = mailbox

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:
        self._mailbox().write(tuple(envelope.rcpt_tos), envelope.original_content or b"")
        return "250 OK"


def receiving(mailbox: Callable[[], Mailbox], host: str, port: int) -> Controller:
    """Receive mail at a port, in a thread. Raises OSError if the port is taken."""
    controller = Controller(_Handler(mailbox), hostname=host, port=port)
    controller.start()
    return controller
