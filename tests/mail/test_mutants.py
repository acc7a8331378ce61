"""Do the tests of the mail bite? Each guard is weakened in a copy, and a test must fail."""

from tests.support.mutants import Change, Mutant, notice_test, place_test

SENDING, SMTP, SETTINGS = "app/mail/sending.py", "app/mail/smtp.py", "app/settings/mail_server.py"
TESTS, SETTINGS_READ = "tests/mail/test_mail.py", "tests/settings/test_config.py"

MUTANTS = (
    Mutant(
        "the mail is written with the end of the connection",
        "app/connections/leases.py",
        "        with self._transactions.begin() as database:\n",
        "        with self._engine.connect() as database:\n",
        f"{TESTS}::test_the_mail_is_written_with_the_end_or_not_at_all",
    ),
    Mutant(
        "an end that has not happened is not told",
        "app/connections/leases.py",
        "            if database.execute(self._sql.mark_reconnect_needed, this).rowcount != 1:\n",
        "            database.execute(self._sql.mark_reconnect_needed, this)\n"
        "            if False:\n",
        f"{TESTS}::test_an_end_that_came_too_late_is_not_told",
    ),
    Mutant(
        "one end is one mail",
        "app/mail/models.py",
        '        UniqueConstraint("connection_id", "generation"),\n',
        "",
        f"{TESTS}::test_the_same_end_is_told_once",
        also=(
            Change(
                "migrations/versions/20261127_mails.py",
                """        sa.UniqueConstraint(
            "connection_id", "generation", name="uq_mails_connection_id_generation"
        ),
""",
                "",
            ),
        ),
    ),
    Mutant(
        "without a mail server no mail is written",
        SENDING,
        """        if self.server is None:
            return

""",
        "",
        f"{TESTS}::test_without_a_mail_server_no_mail_is_written",
    ),
    Mutant(
        "a user who is there is given time",
        SENDING,
        "DELAY_SECONDS = 120.0",
        "DELAY_SECONDS = 0.0",
        f"{TESTS}::test_a_connection_that_ends_is_told_once",
    ),
    Mutant(
        "a leased mail is not due",
        SENDING,
        "            is_over(Mail.lease_until, self.clock, 2 * LEASE_SECONDS),\n",
        "",
        (
            f"{TESTS}::test_two_workers_send_one",
            f"{TESTS}::test_a_dead_workers_mail_waits_for_its_lease",
        ),
    ),
    Mutant(
        "a sent mail is not due",
        SENDING,
        "            Mail.state == MailState.PENDING,\n",
        "",
        f"{TESTS}::test_a_connection_that_ends_is_told_once",
    ),
    Mutant(
        "who has lost the lease sends nothing",
        SENDING,
        "        this_one = (Mail.id == held.id, Mail.lease_owner == held.owner, *only_if)\n",
        "        this_one = (Mail.id == held.id, *only_if)\n",
        f"{TESTS}::test_a_worker_that_lost_its_lease_sends_nothing",
    ),
    Mutant(
        "who has reconnected is asked for no address",
        SENDING,
        "            .where(Mail.id == held.id, _still_ended())\n",
        "            .where(Mail.id == held.id)\n",
        f"{TESTS}::test_who_has_reconnected_gets_none",
    ),
    Mutant(
        "who reconnects in the last moment gets none",
        SENDING,
        "            exists().where(Connection.id == Mail.connection_id, _still_ended()),\n",
        "",
        f"{TESTS}::test_who_has_reconnected_gets_none",
    ),
    Mutant(
        "a mail is about one end",
        SENDING,
        " and_(\n"
        "        Connection.status == Status.RECONNECT_NEEDED,"
        " Connection.generation == Mail.generation\n"
        "    )\n",
        " and_(Connection.status == Status.RECONNECT_NEEDED)\n",
        f"{TESTS}::test_an_earlier_end_is_told_no_more",
    ),
    Mutant(
        "a text is counted before it is sent",
        SENDING,
        "            texts_sent=held.texts_sent + 1,\n",
        "            texts_sent=held.texts_sent,\n",
        f"{TESTS}::test_a_text_without_an_answer_is_sent_once_more_as_the_same_mail",
    ),
    Mutant(
        "a text without an answer is sent again once",
        SENDING,
        "MOST_TEXTS = 2",
        "MOST_TEXTS = 3",
        f"{TESTS}::test_a_text_without_an_answer_is_sent_once_more_as_the_same_mail",
    ),
    Mutant(
        "a text without an answer is not lost",
        SENDING,
        "MOST_TEXTS = 2",
        "MOST_TEXTS = 1",
        (
            f"{TESTS}::test_a_repeat_that_is_taken_is_the_end",
            f"{TESTS}::test_a_killed_worker_loses_no_mail",
        ),
    ),
    Mutant(
        "a repeat is the same mail",
        "app/mail/letter.py",
        """message["Message-ID"] = f"<{mail_id}@""",
        """message["Message-ID"] = f"<{__import__('uuid').uuid4()}@""",
        f"{TESTS}::test_a_text_without_an_answer_is_sent_once_more_as_the_same_mail",
    ),
    Mutant(
        "a text that was answered is not in doubt",
        SENDING,
        '            "texts_sent": held.texts_sent,  # as before: it was put off\n',
        "",
        (
            f"{TESTS}::test_what_the_mail_server_says_counts",
            f"{TESTS}::test_a_try_that_sends_nothing_uses_up_no_repeat",
        ),
    ),
    Mutant(
        "no answer is not a no",
        SMTP,
        "    with _failing(Unanswered):\n",
        "    with _failing(NotTaken):\n",
        f"{TESTS}::test_a_text_without_an_answer_is_sent_once_more_as_the_same_mail",
    ),
    Mutant(
        "what is refused for good is not sent again",
        SMTP,
        'raise Refused(f"{code}") if _is(5, code) else NotTaken(f"{code}")',
        'raise NotTaken(f"{code}")',
        f"{TESTS}::test_what_the_mail_server_says_counts",
    ),
    Mutant(
        "a refused sender loses no mail",
        SMTP,
        'raise NotTaken(f"{code} to the sender")',
        'raise Refused(f"{code} to the sender")',
        f"{TESTS}::test_a_refused_sender_loses_no_mail",
    ),
    Mutant(
        "pauses grow",
        SENDING,
        "pause = exponential(held.tries, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)",
        "pause = FIRST_PAUSE_SECONDS",
        f"{TESTS}::test_pauses_grow",
    ),
    Mutant(
        "a mail server is asked for five days",
        SENDING,
        "        if held.at > held.created_at + GIVEN_UP_AFTER:\n",
        "        if False:\n",
        f"{TESTS}::test_after_five_days_it_is_given_up",
    ),
    Mutant(
        "an address is one address",
        SMTP,
        "    if not LOCAL_PART.fullmatch(local):\n",
        "    if not local:\n",
        f"{TESTS}::test_an_address_is_written_as_mail_servers_take_it",
    ),
    Mutant(
        "TLS comes first",
        SMTP,
        "    if server.tls is Tls.STARTTLS:  # raises where it is not offered\n",
        '    if server.tls is Tls.STARTTLS and smtp.has_extn("starttls"):\n',
        f"{TESTS}::test_nothing_is_said_to_a_stranger",
    ),
    Mutant(
        "the certificate is checked",
        SMTP,
        "        smtp.starttls(context=ssl.create_default_context())\n",
        "        smtp.starttls()\n",
        f"{TESTS}::test_nothing_is_said_to_a_stranger",
    ),
    Mutant(
        "a line that is a dot ends no text",
        SMTP,
        r"""re.sub(rb"(?m)^\.", b"..", text)""",
        "text",
        f"{TESTS}::test_starttls_comes_before_the_password",
    ),
    Mutant(
        "another machine is given nothing without TLS",
        SETTINGS,
        "Tls.NONE if host in LOOPBACK_HOSTS else Tls.STARTTLS",
        "Tls.NONE",
        f"{SETTINGS_READ}::test_a_mail_server_is_read_from_its_url",
    ),
    Mutant(
        "MAIL_FROM is one address",
        SETTINGS,
        "len(named) == 1 and ",
        "",
        f"{SETTINGS_READ}::test_a_mail_server_needs_a_sender",
    ),
)


test_every_guard_is_where_the_list_says = place_test(MUTANTS)
test_every_guard_is_noticed_when_it_is_gone = notice_test(MUTANTS)
