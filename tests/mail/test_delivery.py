"""What a mail server answers, what is repeated, and which worker sends."""

import threading

import pytest
from sqlalchemy import update

from app import mail
from app.database.db import db
from app.mail.models import Mail, MailState
from app.mail.sending import DELAY_SECONDS, LEASE_SECONDS, LONGEST_PAUSE_SECONDS, REPEAT_SECONDS
from tests.support.commands import worker
from tests.support.connected import Connected
from tests.support.mail_server import MailServer
from tests.support.mailing import ADA, end, held_time, states, stored, work
from tests.support.until import until


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


@pytest.mark.both_databases
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


@pytest.mark.slow
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
