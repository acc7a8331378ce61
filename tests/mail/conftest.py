"""A mail server, and an app that sends through it."""

from collections.abc import Iterator

import pytest

from tests.support.mail_server import MailServer, mail_server


@pytest.fixture
def post() -> Iterator[MailServer]:
    """A mail server that is not started yet."""
    with mail_server() as server:
        yield server


@pytest.fixture
def taking(post: MailServer) -> Iterator[MailServer]:
    """The same, and it takes mail."""
    with post.listening():
        yield post


@pytest.fixture
def environ(environ: dict[str, str], post: MailServer) -> dict[str, str]:
    """The settings name the mail server."""
    url = f"smtp://127.0.0.1:{post.port}"
    return environ | {"SMTP_URL": url, "MAIL_FROM": "Loomcount <app@loomcount.example>"}
