"""The one mail: a user whose connection has ended is told, once, whatever fails on the way."""

import json
import logging
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from flask import url_for
from sqlalchemy import Connection as Database
from sqlalchemy import func, select, update

from app import connections, mail
from app.accounts.models import User
from app.connections import history
from app.connections.history import Event
from app.connections.models import Reason, Status
from app.database.clock import Clock
from app.database.db import db
from app.errors import ReconnectNeeded
from app.mail.models import Mail, MailState
from app.mail.sending import DELAY_SECONDS, LEASE_SECONDS, LONGEST_PAUSE_SECONDS, REPEAT_SECONDS
from app.mail.smtp import NotTaken, Refused, envelope_address, handing_in
from app.settings.mail_server import MailServer as Server
from app.settings.mail_server import Tls
from tests.conftest import MakeApp
from tests.support.clocks import HeldClock
from tests.support.commands import run, worker
from tests.support.connected import Connected
from tests.support.mail_server import PASSWORD, USER, MailServer, mail_server, starttls
from tests.support.sandbox import Sandbox
from tests.support.until import until

held_time = pytest.mark.held_time
ADA = "ada@workshop.example"


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


def end(whose: Connected) -> None:
    """Katana has taken back the grant, and a request finds out."""
    whose.sandbox.kill(whose.family_id)
    whose.change(expires_at=-1, renew_at=-1)
    with whose.app.app_context(), pytest.raises(ReconnectNeeded):
        connections.current().refresh.fresh_access_token(whose.id)


def work(whose: Connected, seconds: float = 0) -> None:
    """What a worker does, so many seconds later."""
    if seconds:
        assert isinstance(whose.clock, HeldClock)
        whose.clock.move(seconds)
    with whose.app.app_context():
        for mail_id in mail.current().due(9):
            mail.current().send(mail_id)


def stored(whose: Connected) -> list[Mail]:
    """The rows."""
    with whose.app.app_context():
        rows = list(db.session.scalars(select(Mail).order_by(Mail.created_at)))
        db.session.expunge_all()
        return rows


def states(whose: Connected) -> list[str]:
    """What became of the mails."""
    return [row.state for row in stored(whose)]


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
def test_a_mail_server_that_is_away_gets_it_later(connected: Connected, post: MailServer) -> None:
    """With growing pauses; nothing is sent before it is back."""
    end(connected)
    work(connected, DELAY_SECONDS)
    work(connected)
    (row,) = stored(connected)
    assert (row.state, row.tries, row.texts_sent) == (MailState.PENDING, 1, 0)

    with post.listening():
        work(connected, 2 * 60)

    assert [got.to for got in post.received] == [(ADA,)]
    assert states(connected) == [MailState.SENT]


@held_time
@pytest.mark.one_database
@pytest.mark.parametrize("who", ["to_recipient", "to_text"])
@pytest.mark.parametrize(
    ("answer", "state"),
    [("550 5.1.1 nobody of this name", MailState.FAILED), ("451 4.7.1 later", MailState.PENDING)],
)
def test_what_the_mail_server_says_counts(
    connected: Connected, taking: MailServer, who: str, answer: str, state: MailState
) -> None:
    """A refusal for good is not repeated; one for now is tried again, and was an answer."""
    end(connected)
    setattr(taking, who, answer)
    work(connected, DELAY_SECONDS)
    (row,) = stored(connected)
    assert row.state == state
    assert state == MailState.FAILED or row.texts_sent == 0
    setattr(taking, who, "250 OK")
    before = len(taking.received)

    work(connected, LONGEST_PAUSE_SECONDS)

    later = len(taking.received) - before
    assert later == (state == MailState.PENDING)


@held_time
@pytest.mark.one_database
def test_a_refused_sender_loses_no_mail(connected: Connected, taking: MailServer) -> None:
    """What is wrong with MAIL_FROM or the password can be corrected within days."""
    end(connected)
    taking.to_sender = "530 5.7.0 authentication required"
    work(connected, DELAY_SECONDS)
    assert states(connected) == [MailState.PENDING]

    taking.to_sender, taking.to_recipient = "250 OK", "251 will forward"
    work(connected, LONGEST_PAUSE_SECONDS)
    assert states(connected) == [MailState.SENT]


@held_time
@pytest.mark.one_database
def test_pauses_grow(connected: Connected) -> None:
    """While the mail server is away it is asked after one minute, then after two."""
    end(connected)
    tries = []
    for seconds in (DELAY_SECONDS, 1.3 * 60, 1.3 * 60, 1.3 * 60):
        work(connected, seconds)
        tries.append(stored(connected)[0].tries)

    assert tries == [1, 2, 2, 3]


@held_time
@pytest.mark.one_database
def test_after_five_days_it_is_given_up(connected: Connected) -> None:
    """A mail server that takes nothing for so long will not."""
    end(connected)
    work(connected, DELAY_SECONDS)
    work(connected, 5 * 24 * 3600)

    (row,) = stored(connected)
    assert row.state == MailState.FAILED
    assert row.detail
    assert row.detail.startswith("not taken for days")


@held_time
@pytest.mark.one_database
def test_a_text_without_an_answer_is_sent_once_more_as_the_same_mail(
    connected: Connected, taking: MailServer
) -> None:
    """Byte for byte, not before ten minutes have passed; and never a third time."""
    end(connected)
    taking.drops = True
    work(connected, DELAY_SECONDS)
    work(connected, REPEAT_SECONDS - 1)
    assert len(taking.received) == 1

    for _ in range(4):
        work(connected, REPEAT_SECONDS)

    first, second = taking.received
    assert first.content == second.content
    assert states(connected) == [MailState.UNKNOWN]


@held_time
@pytest.mark.one_database
def test_a_repeat_that_is_taken_is_the_end(connected: Connected, taking: MailServer) -> None:
    """The usual case: the second one is answered."""
    end(connected)
    taking.drops = True
    work(connected, DELAY_SECONDS)
    taking.drops = False
    for _ in range(3):
        work(connected, REPEAT_SECONDS)

    assert len(taking.received) == 2
    assert states(connected) == [MailState.SENT]


@held_time
@pytest.mark.one_database
def test_a_try_that_sends_nothing_uses_up_no_repeat(
    connected: Connected, taking: MailServer
) -> None:
    """A mail server that is busy in between leaves the one repeat to come."""
    end(connected)
    taking.drops = True
    work(connected, DELAY_SECONDS)
    taking.drops, taking.to_text = False, "451 4.7.1 later"
    work(connected, REPEAT_SECONDS)
    taking.to_text = "250 OK"
    work(connected, LONGEST_PAUSE_SECONDS)

    assert states(connected) == [MailState.SENT]


@held_time
def test_two_workers_send_one(connected: Connected, taking: MailServer) -> None:
    """The lease lets one of them: the other finds nothing to do."""
    end(connected)
    taking.at_text = taking.hold
    first = threading.Thread(target=work, args=(connected, DELAY_SECONDS))
    first.start()
    until(taking.held.is_set)

    work(connected)
    with connected.app.app_context():
        mail.current().send(stored(connected)[0].id)
    taking.go.set()
    first.join()

    assert len(taking.received) == 1
    assert states(connected) == [MailState.SENT]


def make_due(whose: Connected) -> None:
    """Minutes later: the mail is due, and the lease of a killed worker is over."""
    with whose.app.app_context():
        now = {"due_at": whose.clock.database_time(), "lease_owner": None, "lease_until": None}
        db.session.execute(update(Mail).where(Mail.state == MailState.PENDING).values(now))
        db.session.commit()


@pytest.mark.one_database("postgresql")
def test_a_killed_worker_loses_no_mail(
    connected: Connected, taking: MailServer, environ: dict[str, str]
) -> None:
    """Real processes: one is killed once the text is out, and the next sends the same mail."""
    end(connected)
    make_due(connected)
    taking.at_text = taking.hold
    with worker(environ) as process:
        until(taking.held.is_set)
        process.kill()
        process.communicate(timeout=60)
    taking.at_text = lambda: None
    taking.go.set()
    assert states(connected) == [MailState.PENDING]
    make_due(connected)
    with worker(environ) as process:
        until(lambda: states(connected) == [MailState.SENT])
        process.terminate()
        output, _ = process.communicate(timeout=60)

    assert "Traceback" not in output
    first, second = taking.received
    assert first.content == second.content


@held_time
@pytest.mark.one_database
def test_a_dead_workers_mail_waits_for_its_lease(connected: Connected, taking: MailServer) -> None:
    """Nobody else sends it before that."""
    end(connected)
    connected.clock.move(DELAY_SECONDS)  # type: ignore[attr-defined]
    with connected.app.app_context():
        (mail_id,) = mail.current().due(9)
        assert mail.current().rows.claim(Mail.id == mail_id)

    work(connected, LEASE_SECONDS - 1)
    assert taking.received == []
    work(connected, 2)
    assert len(taking.received) == 1


@held_time
@pytest.mark.one_database
def test_a_worker_that_lost_its_lease_sends_nothing(
    connected: Connected, taking: MailServer
) -> None:
    """It was away before the text: another has sent the mail meanwhile."""

    def overtaken() -> None:
        taking.at_recipient = lambda: None
        work(connected, LEASE_SECONDS + 1)

    end(connected)
    taking.at_recipient = overtaken
    work(connected, DELAY_SECONDS)

    assert len(taking.received) == 1
    assert states(connected) == [MailState.SENT]


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """An authority that this process trusts."""
    authority = trustme.CA()
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return authority


def context_of(authority: trustme.CA) -> ssl.SSLContext:
    """What a server on this machine needs for TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def server_at(post: MailServer, tls: Tls, password: str | None = PASSWORD) -> Server:
    """The mail server in the settings."""
    user = USER if password else None
    return Server("127.0.0.1", post.port, tls, user, password, "app@x.example", "")


def test_starttls_comes_before_the_password(post: MailServer, authority: trustme.CA) -> None:
    """The certificate is checked; user and password are shown to nobody before."""
    with post.listening(**starttls(context_of(authority), post)):
        with handing_in(server_at(post, Tls.STARTTLS), ADA) as send:
            send(b"Subject: x\r\n\r\n.a line that begins with a dot\r\n")
        with (
            pytest.raises(NotTaken, match="535"),
            handing_in(server_at(post, Tls.STARTTLS, "another"), ADA),
        ):
            pass

    (got,) = post.received
    assert (got.tls, got.user) == (True, USER)
    assert got.content.endswith(b"\r\n.a line that begins with a dot\r\n")


def test_nothing_is_said_to_a_stranger(
    post: MailServer, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where TLS is not offered, nor where the certificate is of another authority."""
    with (
        post.listening(),
        pytest.raises(NotTaken, match="NotSupported"),
        handing_in(server_at(post, Tls.STARTTLS, None), ADA),
    ):
        pass
    with (
        post.listening(**starttls(context_of(trustme.CA()), post)),
        pytest.raises(NotTaken, match="SSLCert"),
        handing_in(server_at(post, Tls.STARTTLS), ADA),
    ):
        pass

    assert post.received == []


def test_tls_from_the_first_byte(post: MailServer, authority: trustme.CA) -> None:
    """As smtps:// says."""
    context = context_of(authority)
    with (
        post.listening(ssl_context=context),
        handing_in(server_at(post, Tls.IMPLICIT, None), ADA) as send,
    ):
        send(b"Subject: x\r\n\r\n")

    assert post.received


@pytest.mark.parametrize(
    ("address", "envelope"),
    [
        ("ada@workshop.example", "ada@workshop.example"),
        ("o'hara+x@straße.example", "o'hara+x@xn--strae-oqa.example"),
        ("zoë@müller.example", "zoë@xn--mller-kva.example"),
        ("a,b@workshop.example", None),
        ('a"b@workshop.example', None),
        ("a>b@workshop.example", None),
        ("ada@-.example", None),
    ],
)
def test_an_address_is_written_as_mail_servers_take_it(address: str, envelope: str | None) -> None:
    """What would be read as another address, or as two, is refused."""
    with suppress(Refused):
        assert envelope_address(address) == envelope
        return
    assert envelope is None


def respell(whose: Connected, address: str) -> None:
    """The user has this address."""
    with whose.app.app_context():
        db.session.execute(update(User).values(email=address))
        db.session.commit()


@held_time
@pytest.mark.one_database
def test_an_address_that_is_none_fails_the_mail(connected: Connected, taking: MailServer) -> None:
    """Nothing of it reaches the mail server or a header."""
    respell(connected, "ada@workshop.example>\r\nRCPT TO:<eve@elsewhere.example")
    end(connected)
    work(connected, DELAY_SECONDS)

    assert states(connected) == [MailState.FAILED]
    assert taking.received == []


@held_time
@pytest.mark.one_database
def test_letters_beyond_ascii_go_where_they_are_taken(
    connected: Connected, post: MailServer
) -> None:
    """With SMTPUTF8 where the mail server has it; else the mail has failed."""
    respell(connected, "zoë@müller.example")
    end(connected)
    with post.listening(enable_SMTPUTF8=True):
        work(connected, DELAY_SECONDS)
    (got,) = post.received
    assert got.to == ("zoë@xn--mller-kva.example",)

    connected.reconnect()
    end(connected)
    with post.listening(enable_SMTPUTF8=False):
        work(connected, DELAY_SECONDS)
    assert states(connected) == [MailState.SENT, MailState.FAILED]


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
