"""The one mail: a user whose connection has ended is told, once, whatever fails on the way."""

import json
import logging
import re
import socket
from dataclasses import replace
from typing import Any

import pytest
from flask import url_for
from sqlalchemy import Connection as Database
from sqlalchemy import func, select

from app import connections, mail
from app.connections import history
from app.connections.history import Event
from app.connections.models import Reason, Status
from app.database.clock import Clock
from app.database.db import db
from app.mail.models import Mail, MailState
from app.mail.sending import DELAY_SECONDS
from tests.conftest import MakeApp
from tests.support.commands import run
from tests.support.connected import Connected
from tests.support.mail_server import MailServer
from tests.support.mailing import ADA, end, held_time, states, stored, work
from tests.support.sandbox import Sandbox


@held_time
def test_a_connection_that_ends_is_told_once(connected: Connected, taking: MailServer) -> None:
    """To its user, with one link, which leads to the button; and to nobody twice."""
    end(connected)
    work(connected)
    assert taking.received == []

    for _ in range(3):
        work(connected, DELAY_SECONDS)

    (got,) = taking.received
    (row,) = stored(connected)
    assert (got.sender, got.to) == ("app@loomcount.example", (ADA,))
    assert got.message["From"] == "Loomcount <app@loomcount.example>"
    assert got.message["To"] == ADA
    assert got.message["Message-ID"] == f"<{row.id}@loomcount.example>"
    assert got.message["Auto-Submitted"] == "auto-generated"
    assert got.message["Date"].datetime == row.created_at
    links = re.findall(r"https?://\S+", got.message.get_content())
    with connected.app.test_request_context(connected.settings.katana.redirect_uri):
        assert links == [url_for("dashboard.dashboard", _external=True)]
    assert row.state == MailState.SENT
    assert row.sent_at


@held_time
@pytest.mark.one_database
def test_keep_alive_tells_too(connected: Connected, taking: MailServer) -> None:
    """Nobody is there to see it on a page."""
    connected.sandbox.kill(connected.family_id)
    with connected.app.app_context():
        connections.current().keep_alive.renew(connected.id)
    assert connected.row().status is Status.RECONNECT_NEEDED

    work(connected, DELAY_SECONDS)

    assert [got.to for got in taking.received] == [(ADA,)]


@held_time
@pytest.mark.one_database
def test_each_end_is_told(connected: Connected, taking: MailServer) -> None:
    """After a reconnect the next end is another one."""
    for number in range(2):
        end(connected)
        work(connected, DELAY_SECONDS)
        assert len(taking.received) == number + 1
        connected.reconnect()

    assert len({got.message["Message-ID"] for got in taking.received}) == 2


@pytest.mark.both_databases
@held_time
def test_the_mail_is_written_with_the_end_or_not_at_all(connected: Connected) -> None:
    """One transaction: where it fails after the mail was added, neither is there."""

    def fails(event: Event, database: Database) -> None:
        assert database.scalar(select(func.count()).select_from(Mail)) == 1
        raise ZeroDivisionError

    with history.ending.connected_to(fails):
        connected.sandbox.kill(connected.family_id)
        connected.change(expires_at=-1, renew_at=-1)
        with connected.app.app_context(), pytest.raises(ZeroDivisionError):
            connections.current().refresh.fresh_access_token(connected.id)

    assert connected.row().status is Status.ACTIVE
    assert stored(connected) == []
    connected.clock.move(70)  # type: ignore[attr-defined]
    end(connected)
    assert states(connected) == [MailState.PENDING]


@held_time
def test_who_has_reconnected_gets_none(connected: Connected, taking: MailServer) -> None:
    """Before it is due, and also while the mail server is talked to already."""
    end(connected)
    connected.reconnect()
    taking.at_recipient = taking.held.set
    work(connected, DELAY_SECONDS)
    assert states(connected) == [MailState.CANCELLED]
    assert not taking.held.is_set()

    end(connected)
    taking.at_recipient = connected.reconnect
    work(connected, DELAY_SECONDS)

    assert taking.received == []
    assert states(connected) == [MailState.CANCELLED] * 2


@held_time
@pytest.mark.one_database
def test_an_earlier_end_is_told_no_more(connected: Connected, taking: MailServer) -> None:
    """The user has reconnected and it has ended again: the second mail says enough."""
    end(connected)
    connected.reconnect()
    end(connected)
    work(connected, DELAY_SECONDS)

    assert states(connected) == [MailState.CANCELLED, MailState.SENT]
    assert len(taking.received) == 1


@held_time
@pytest.mark.one_database
def test_an_end_that_came_too_late_is_not_told(connected: Connected) -> None:
    """The user reconnects while Katana is asked: the old grant's end is none of the new one."""
    leases = connected.parts().leases
    with connected.app.app_context():
        snapshot = leases.read(connected.id)
        assert snapshot
        lease = leases.claim(snapshot)
        assert lease
        connected.reconnect()
        assert not leases.mark_reconnect_needed(lease, Reason.GRANT_ENDED)

    assert stored(connected) == []


@held_time
@pytest.mark.one_database
def test_who_has_disconnected_gets_none(connected: Connected, taking: MailServer) -> None:
    """The row goes with the connection, also in the last moment."""
    end(connected)
    taking.at_recipient = connected.disconnect
    work(connected, DELAY_SECONDS)

    assert taking.received == []
    assert stored(connected) == []


@held_time
@pytest.mark.one_database
def test_without_a_mail_server_no_mail_is_written(
    new_app: MakeApp, sandbox: Sandbox, environ: dict[str, str], clock: Clock
) -> None:
    """So that none of last month is sent once there is one."""
    ada = Connected(new_app(clock, SMTP_URL=""), sandbox, environ, clock=clock)
    end(ada)
    work(ada, DELAY_SECONDS)

    assert stored(ada) == []


@held_time
def test_the_same_end_is_told_once(connected: Connected) -> None:
    """Announced again, as after a commit whose answer was lost, it adds no second mail."""
    end(connected)
    with connected.app.app_context(), db.engine.begin() as database:
        mail.current().add(database, connected.id)

    assert states(connected) == [MailState.PENDING]


@held_time
@pytest.mark.one_database
def test_the_log_has_no_address_and_no_answer_of_the_server(
    connected: Connected, taking: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What a mail server says may repeat the address."""
    caplog.set_level(logging.DEBUG)
    end(connected)
    taking.to_recipient = f"550 <{ADA}> is unknown"
    work(connected, DELAY_SECONDS)

    ours = [record.getMessage() for record in caplog.records if record.name.startswith("app.")]
    assert any("is not sent: refused: 550" in line for line in ours)
    assert not any(ADA in line for line in ours)


@held_time
@pytest.mark.one_database
def test_doctor_says_whether_mail_is_on(
    connected: Connected, taking: MailServer, listener: socket.socket
) -> None:
    """Off, on, or in trouble."""
    listener.close()

    def told() -> tuple[Any, Any]:
        findings = json.loads(run(connected.app, "doctor", "--json").output)["findings"]
        (found,) = (each for each in findings if each["check"] == "mail")
        return found["level"], found["says"]

    assert told() == ("ok", "A user whose connection ends gets one mail, through 127.0.0.1.")
    end(connected)
    taking.to_recipient = "550 no"
    work(connected, DELAY_SECONDS)
    level, says = told()
    assert level == "warning"
    assert says.endswith("did not take or confirm: 1.")
    connected.clock.move(8 * 24 * 3600)  # type: ignore[attr-defined]
    assert told()[0] == "ok"
    parts = connected.app.extensions["mails"]
    connected.app.extensions["mails"] = replace(parts, server=None)
    assert told()[1].startswith("Off")
