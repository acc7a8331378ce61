"""The text of the mail. The same row always gives the same bytes, also when it is sent again."""

from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from uuid import UUID

from app.settings.mail_server import MailServer

SUBJECT = "Katana must be connected again"
TEXT = """\
Your Katana account is no longer connected, because Katana has ended this app's access to it.
Nothing new is read from Katana until you connect it again. What was read before is kept.

Connect it again here:
{link}

We send this message once.
"""


def letter(mail_id: UUID, written_at: datetime, to: str, link: str, server: MailServer) -> bytes:
    """The whole message."""
    message = EmailMessage(policy=SMTP if to.isascii() else SMTPUTF8)
    message["From"] = Address(server.sender_name, addr_spec=server.sender)
    message["To"] = to
    message["Subject"] = SUBJECT
    message["Date"] = format_datetime(written_at)
    message["Message-ID"] = f"<{mail_id}@{server.sender.rpartition('@')[2]}>"
    # RFC 3834: prevents out-of-office replies.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(TEXT.format(link=link))
    return message.as_bytes()
