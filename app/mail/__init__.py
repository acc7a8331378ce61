"""The only mail of this app: it tells a user that the connection to Katana has ended.

    models.py    the table of mails
    sending.py   write a row, and send its mail
    letter.py    the text
    smtp.py      send one mail to the mail server

`connections` does not import this package. It sends a signal in the transaction that ends a
connection, and the row of the mail is written in the same transaction. Without SMTP_URL no mail is
sent.
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

RECONNECT_PATH = "/dashboard"  # has the Connect button; a visitor must sign in first


def build(settings: Settings, engine: Engine, clock: Clock | None = None) -> Mails:
    """Build the mails for this database."""
    link = urljoin(settings.katana.redirect_uri, RECONNECT_PATH)
    return Mails(engine, clock or SystemClock(), settings.mail_server, link)


def init_app(app: Flask, built: Mails) -> None:
    """Register the mails with `app`, and add one when a connection ends."""
    app.extensions["mails"] = built
    history.ending.connect(_add)


def current() -> Mails:
    """The mails of the current app."""
    built: Mails = current_app.extensions["mails"]
    return built


def _add(event: Event, database: Database) -> None:
    if has_app_context():  # without it there are no settings for sending mail
        current().add(database, event.connection_id)
