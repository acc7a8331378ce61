"""Checks that users get a mail when their connection has ended."""

from collections.abc import Iterator

from sqlalchemy import func, select

from app import mail
from app.database.engine import single_reads
from app.mail.models import Mail, MailState
from app.operations.doctor.findings import Examined, Finding, ok, warning

DAYS = 7


def mails(examined: Examined) -> Iterator[Finding]:
    """Mail is on, and the server accepted the mails of the last week."""
    mails = mail.current()
    if mails.server is None:
        yield ok("mail", "Off, since SMTP_URL is not set: only the dashboard tells users.")
        return

    waits = (Mail.state == MailState.PENDING) & (Mail.tries + Mail.texts_sent > 0)
    troubled = select(func.count()).where(
        waits | Mail.state.in_([MailState.FAILED, MailState.UNKNOWN]),
        Mail.created_at > mails.clock.database_time(-DAYS * 24 * 3600.0),
    )
    with single_reads(examined.engine).connect() as database:
        many = database.scalar(troubled)
    if not many:
        yield ok(
            "mail", f"A user whose connection ends gets one mail, through {mails.server.host}."
        )
        return

    yield warning(
        "mail",
        f"Mails of the last {DAYS} days that {mails.server.host} did not take or confirm: {many}.",
        "The log of `flask worker` says why. Check SMTP_URL and MAIL_FROM.",
    )
