"""Do the tests of the mail bite? Each guard is weakened in a copy, and a test must fail."""

from tests.support.mutants import Change, Mutant, notice_test, place_test

DELIVERY_TESTS = "tests/mail/test_delivery.py"
SMTP_TESTS = "tests/mail/test_smtp.py"
TESTS = "tests/mail/test_mail.py"

MUTANTS = (
    Mutant(
        "the mail is written with the end of the connection",
        "app/connections::Leases.mark_reconnect_needed",
        "with self._transactions.begin() as database:",
        "with self._engine.connect() as database:",
        f"{TESTS}::test_the_mail_is_written_with_the_end_or_not_at_all",
    ),
    Mutant(
        "an end that has not happened is not told",
        "app/connections",
        "if database.execute(self._sql.mark_reconnect_needed, this).rowcount != 1:",
        "database.execute(self._sql.mark_reconnect_needed, this)\nif False:",
        f"{TESTS}::test_an_end_that_came_too_late_is_not_told",
    ),
    Mutant(
        "one end is one mail",
        "app/mail",
        'UniqueConstraint("connection_id", "generation")',
        "",
        f"{TESTS}::test_the_same_end_is_told_once",
        also=(
            Change(
                "migrations/versions/20261127_mails.py",
                "sa.UniqueConstraint(\n"
                '    "connection_id", "generation", name="uq_mails_connection_id_generation"\n'
                ")",
                "",
            ),
        ),
    ),
    Mutant(
        "without a mail server no mail is written",
        "app/mail",
        "if self.server is None:\n    return",
        "",
        f"{TESTS}::test_without_a_mail_server_no_mail_is_written",
    ),
    Mutant(
        "a user who is there is given time",
        "app/mail",
        "DELAY_SECONDS = 120.0",
        "DELAY_SECONDS = 0.0",
        f"{TESTS}::test_a_connection_that_ends_is_told_once",
    ),
    Mutant(
        "a leased mail is not due",
        "app/database/leased_rows.py::LeasedRows.is_free",
        "is_over(self.model.lease_until, self.clock, 2 * self.seconds)",
        "or_(self.model.lease_until.is_(None), self.model.lease_until.is_not(None))",
        (
            f"{DELIVERY_TESTS}::test_two_workers_send_one",
            f"{DELIVERY_TESTS}::test_a_dead_workers_mail_waits_for_its_lease",
        ),
    ),
    Mutant(
        "a sent mail is not due",
        "app/mail::_due",
        "ranges(Mail.due_at, clock, 2 * LONGEST_PAUSE_SECONDS, pending)",
        "ranges(Mail.due_at, clock, 2 * LONGEST_PAUSE_SECONDS)",
        f"{TESTS}::test_a_connection_that_ends_is_told_once",
    ),
    Mutant(
        "who has lost the lease sends nothing",
        "app/database/leased_rows.py",
        "self.model.lease_owner == held.lease_owner",
        "",
        f"{DELIVERY_TESTS}::test_a_worker_that_lost_its_lease_sends_nothing",
    ),
    Mutant(
        "who has reconnected is asked for no address",
        "app/mail::Mails._address",
        "_still_ended()",
        "",
        f"{TESTS}::test_who_has_reconnected_gets_none",
    ),
    Mutant(
        "who reconnects in the last moment gets none",
        "app/mail",
        "exists().where(Connection.id == Mail.connection_id, _still_ended())",
        "",
        f"{TESTS}::test_who_has_reconnected_gets_none",
    ),
    Mutant(
        "a mail is about one end",
        "app/mail",
        "and_(Connection.status == Status.RECONNECT_NEEDED, Connection.generation == "
        "Mail.generation)",
        "and_(Connection.status == Status.RECONNECT_NEEDED)",
        f"{TESTS}::test_an_earlier_end_is_told_no_more",
    ),
    Mutant(
        "a text is counted before it is sent",
        "app/mail",
        "texts_sent=held.texts_sent + 1",
        "texts_sent=held.texts_sent",
        f"{DELIVERY_TESTS}::test_a_text_without_an_answer_is_sent_once_more_as_the_same_mail",
    ),
    Mutant(
        "a text without an answer is sent again once",
        "app/mail",
        "MOST_TEXTS = 2",
        "MOST_TEXTS = 3",
        f"{DELIVERY_TESTS}::test_a_text_without_an_answer_is_sent_once_more_as_the_same_mail",
    ),
    Mutant(
        "a text without an answer is not lost",
        "app/mail",
        "MOST_TEXTS = 2",
        "MOST_TEXTS = 1",
        (
            f"{DELIVERY_TESTS}::test_a_repeat_that_is_taken_is_the_end",
            f"{DELIVERY_TESTS}::test_a_killed_worker_loses_no_mail",
        ),
    ),
    Mutant(
        "a repeat is the same mail",
        "app/mail",
        "f\"<{mail_id}@{server.sender.rpartition('@')[2]}>\"",
        "f\"<{__import__('uuid').uuid4()}@{server.sender.rpartition('@')[2]}>\"",
        f"{DELIVERY_TESTS}::test_a_text_without_an_answer_is_sent_once_more_as_the_same_mail",
    ),
    Mutant(
        "a text that was answered is not in doubt",
        "app/mail",
        '"texts_sent": held.texts_sent',
        "",
        (
            f"{DELIVERY_TESTS}::test_what_the_mail_server_says_counts",
            f"{DELIVERY_TESTS}::test_a_try_that_sends_nothing_uses_up_no_repeat",
        ),
    ),
    Mutant(
        "no answer is not a no",
        "app/mail",
        "with _failing(Unanswered):",
        "with _failing(NotTaken):",
        f"{DELIVERY_TESTS}::test_a_text_without_an_answer_is_sent_once_more_as_the_same_mail",
    ),
    Mutant(
        "what is refused for good is not sent again",
        "app/mail",
        'raise Refused(f"{code}") if _is(5, code) else NotTaken(f"{code}")',
        'raise NotTaken(f"{code}")',
        f"{DELIVERY_TESTS}::test_what_the_mail_server_says_counts",
    ),
    Mutant(
        "a refused sender loses no mail",
        "app/mail",
        'raise NotTaken(f"{code} to the sender")',
        'raise Refused(f"{code} to the sender")',
        f"{DELIVERY_TESTS}::test_a_refused_sender_loses_no_mail",
    ),
    Mutant(
        "pauses grow",
        "app/mail",
        "pause = exponential(held.tries, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)",
        "pause = FIRST_PAUSE_SECONDS",
        f"{DELIVERY_TESTS}::test_pauses_grow",
    ),
    Mutant(
        "a mail server is asked for five days",
        "app/mail",
        "if self.rows.claimed_at(held) > held.created_at + GIVEN_UP_AFTER:",
        "if False:",
        f"{DELIVERY_TESTS}::test_after_five_days_it_is_given_up",
    ),
    Mutant(
        "an address is one address",
        "app/mail",
        "if not LOCAL_PART.fullmatch(local):",
        "if not local:",
        f"{SMTP_TESTS}::test_an_address_is_written_as_mail_servers_take_it",
    ),
    Mutant(
        "TLS comes first",
        "app/mail",
        "server.tls is Tls.STARTTLS",
        'server.tls is Tls.STARTTLS and smtp.has_extn("starttls")',
        f"{SMTP_TESTS}::test_nothing_is_said_to_a_stranger",
    ),
    Mutant(
        "the certificate is checked",
        "app/mail",
        "smtp.starttls(context=ssl.create_default_context())",
        "smtp.starttls()",
        f"{SMTP_TESTS}::test_nothing_is_said_to_a_stranger",
    ),
    Mutant(
        "a line that is a dot ends no text",
        "app/mail",
        're.sub(rb"(?m)^\\.", b"..", text)',
        "text",
        f"{SMTP_TESTS}::test_starttls_comes_before_the_password",
    ),
    Mutant(
        "another machine is given nothing without TLS",
        "app/settings",
        "Tls.NONE if host in LOOPBACK_HOSTS else Tls.STARTTLS",
        "Tls.NONE",
        "tests/settings/test_urls.py::test_a_mail_server_is_read_from_its_url",
    ),
    Mutant(
        "MAIL_FROM is one address",
        "app/settings",
        "len(named) == 1",
        "",
        "tests/settings/test_urls.py::test_a_mail_server_needs_a_sender",
    ),
)


test_every_guard_is_where_the_list_says = place_test(MUTANTS)
test_every_guard_is_noticed_when_it_is_gone = notice_test(MUTANTS)
