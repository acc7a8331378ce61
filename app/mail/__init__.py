"""The one mail of this app: it tells a user that the connection to Katana has ended.

    models.py    the table of mails
    sending.py   write a row, and send it
    letter.py    the text
    smtp.py      one mail, handed to the mail server

`connections` knows nothing of this: it announces, within its transaction, that a connection ends,
and the row of the mail is written in the same transaction. Without SMTP_URL mail is off.
"""

from urllib.parse import urljoin

from flask import Flask, current_app, has_app_context
from sqlalchemy import Connection as Database
from sqlalchemy import Engine

from app.connections import history
from app.connections.history import Event
from app.database.clock import Clock, SystemClock
from app.mail.sending import Mails
from app.settings.config import Settings

RECONNECT_PATH = "/dashboard"  # has the button, and asks a visitor to sign in first


def build(settings: Settings, engine: Engine, clock: Clock | None = None) -> Mails:
    """The mails of this database."""
    link = urljoin(settings.katana.redirect_uri, RECONNECT_PATH)
    return Mails(engine, clock or SystemClock(), settings.mail_server, link)


def init_app(app: Flask, built: Mails) -> None:
    """Let `current()` find them while `app` is at work, and add one when a connection ends."""
    app.extensions["mails"] = built
    history.ending.connect(_add)


def current() -> Mails:
    """The mails of the current app."""
    built: Mails = current_app.extensions["mails"]
    return built


def _add(event: Event, database: Database) -> None:
    if has_app_context():  # without one no settings say how to send mail
        current().add(database, event.connection_id)
