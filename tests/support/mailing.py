"""Ends a connection, sends mail that is due, and reads the stored mails."""

import pytest
from sqlalchemy import select

from app import connections, mail
from app.database.db import db
from app.errors import ReconnectNeeded
from app.mail.models import Mail
from tests.support.clocks import HeldClock
from tests.support.connected import Connected

held_time = pytest.mark.held_time
ADA = "ada@workshop.example"


def end(whose: Connected) -> None:
    """Katana revokes the grant, and a refresh finds out."""
    whose.sandbox.kill(whose.family_id)
    whose.change(expires_at=-1, renew_at=-1)
    with whose.app.app_context(), pytest.raises(ReconnectNeeded):
        connections.current().refresh.fresh_access_token(whose.id)


def work(whose: Connected, seconds: float = 0) -> None:
    """Do a worker's mail jobs, so many seconds later."""
    if seconds:
        assert isinstance(whose.clock, HeldClock)
        whose.clock.move(seconds)
    with whose.app.app_context():
        for mail_id in mail.current().due(9):
            mail.current().send(mail_id)


def stored(whose: Connected) -> list[Mail]:
    """The stored mails."""
    with whose.app.app_context():
        rows = list(db.session.scalars(select(Mail).order_by(Mail.created_at)))
        db.session.expunge_all()
        return rows


def states(whose: Connected) -> list[str]:
    """The states of the mails."""
    return [row.state for row in stored(whose)]
