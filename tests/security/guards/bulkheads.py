"""Slow Katana and spellings: what keeps threads free and accounts single; which tests notice."""

from tests.support.mutants import Mutant

BULKHEAD_LIMITS_TESTS = "tests/katana/test_bulkhead_limits.py"
BULKHEADS, SPELLINGS = "tests/katana/test_bulkheads.py", "tests/accounts/test_spellings.py"
PASSWORDS = "app/accounts/passwords.py"
MIGRATION = "migrations/versions/20261127_one_spelling.py"

GUARDS = [
    Mutant(
        "a part of the threads waits for the API",
        "app/pages",
        "bulkhead=bulkhead",
        "",
        f"{BULKHEADS}::test_an_api_that_hangs_holds_a_part_of_the_threads",
    ),
    Mutant(
        "a part of the threads waits for the token endpoint",
        "app/connections",
        "refresh = Refresh(leases, breaker, login, vault, clock, staged, bulkheads)",
        "refresh = Refresh(leases, breaker, login, vault, clock, staged)",
        f"{BULKHEADS}::test_a_token_endpoint_that_hangs_holds_a_part_of_the_threads",
    ),
    Mutant(
        "a callback takes its place before its attempt",
        "app/pages",
        "current().bulkheads.callbacks.slot() if answer.code else nullcontext()",
        "nullcontext()",
        f"{BULKHEADS}::test_a_callback_that_finds_no_place_can_be_loaded_again",
    ),
    Mutant(
        "a disconnect does not queue for Katana",
        "app/connections",
        "lifecycle=Lifecycle(login, vault, clock, bulkheads, staged)",
        "lifecycle=Lifecycle(login, vault, clock)",
        f"{BULKHEADS}::test_disconnecting_never_waits_in_a_crowd",
    ),
    Mutant(
        "a crowd is noticed",
        "gunicorn.conf.py",
        "pool._work_queue.qsize",
        "lambda: 0",
        f"{BULKHEADS}::test_a_crowd_of_dashboards_lets_others_pass",
    ),
    Mutant(
        "a dashboard gives way",
        "app/pages",
        "waiting() > MOST_WAITING",
        "waiting() > 10 * MOST_WAITING",
        f"{BULKHEADS}::test_only_what_may_ask_katana_gives_way",
    ),
    Mutant(
        "nothing else gives way",
        "app/pages",
        "request.endpoint in GIVES_WAY",
        "",
        f"{BULKHEADS}::test_only_what_may_ask_katana_gives_way",
    ),
    Mutant(
        "commands are not limited",
        "app/__init__.py",
        "applies=has_request_context",
        "applies=lambda: True",
        f"{BULKHEAD_LIMITS_TESTS}::test_commands_are_not_limited",
    ),
    Mutant(
        "places follow the threads",
        "app/__init__.py",
        "Bulkheads(settings.threads, applies=has_request_context)",
        "Bulkheads(applies=has_request_context)",
        f"{BULKHEADS}::test_the_places_follow_the_threads_of_the_server",
    ),
    Mutant(
        "one thread is left",
        "app/katana",
        "self.limit = max(1, threads - 1)",
        "self.limit = threads + 9",
        f"{BULKHEAD_LIMITS_TESTS}::test_a_thread_is_left_however_many_there_are",
    ),
    Mutant(
        "one caller probes",
        "app/katana::CircuitBreaker._admit",
        "self._probing = True",
        "",
        f"{BULKHEAD_LIMITS_TESTS}::test_after_time_outs_in_a_row_one_caller_at_a_time_probes",
    ),
    Mutant(
        "a refresh notes its time-out",
        "app/katana",
        "self._note(timed_out=slot.failed and slow)",
        "self._note(timed_out=False)",
        f"{BULKHEAD_LIMITS_TESTS}::test_the_token_endpoint_and_the_api_time_out_apart",
    ),
    Mutant(
        "a burst waits in line",
        "app/katana",
        "while (left := self._queue_seconds_left(began)) > 0:",
        "while (left := 0) > 0:",
        f"{BULKHEAD_LIMITS_TESTS}::test_a_burst_waits_in_line_while_katana_is_prompt",
    ),
    Mutant(
        "an address has one spelling",
        "app/accounts",
        "validate_email(address, check_deliverability=False).normalized",
        "address",
        f"{SPELLINGS}::test_one_address_in_two_spellings_is_one_account",
    ),
    Mutant(
        "an address that the package refuses has one spelling",
        "app/accounts",
        "domain = idna.decode(domain, uts46=True)",
        "pass",
        f"{SPELLINGS}::test_one_address_in_two_spellings_is_one_account",
    ),
    Mutant(
        "no name is looked up",
        "app/accounts",
        "check_deliverability=False",
        "check_deliverability=True",
        f"{SPELLINGS}::test_no_name_is_looked_up",
    ),
    Mutant(
        "a password has one spelling",
        PASSWORDS,
        'return unicodedata.normalize("NFC", spaced)',
        "return spaced",
        f"{SPELLINGS}::test_a_hash_from_before_stays_good_and_is_renewed",
    ),
    Mutant(
        "a hash of another spelling stays good",
        "app/accounts/passwords.py::matches",
        "_spellings(password)",
        "_spellings(password)[:1]",
        f"{SPELLINGS}::test_a_hash_from_before_stays_good_and_is_renewed",
    ),
    Mutant(
        "a hash of another spelling is renewed",
        "app/accounts/views.py",
        "passwords.respelled(password, old)",
        "",
        f"{SPELLINGS}::test_a_hash_from_before_stays_good_and_is_renewed",
    ),
    Mutant(
        "collisions are not guessed",
        MIGRATION,
        "if collisions:",
        "if False:",
        f"{SPELLINGS}::test_the_migration_names_collisions_and_changes_nothing",
    ),
]
