"""Do the tests of webhooks bite? Each guard is weakened in a copy, and a test must fail."""

from tests.support.mutants import Mutant, notice_test, place_test

RECEIVER_TESTS, SUBSCRIBED = (
    "tests/sync/test_webhook_receiver.py",
    "tests/sync/test_webhook_subscriptions.py",
)

MUTANTS = (
    Mutant(
        "a delivery is signed",
        "app/sync",
        "if row is None or not self._is_signed(row[0], row[1], raw, signature):",
        "if row is None:",
        f"{RECEIVER_TESTS}::test_all_that_is_not_katanas_is_refused_alike",
    ),
    Mutant(
        "the signature is of the raw bytes",
        "app/katana",
        "hmac.new(token.encode(), body, hashlib.sha256)",
        "hmac.new(token.encode(), json.dumps(json.loads(body or b'0')).encode(), hashlib.sha256)",
        f"{RECEIVER_TESTS}::test_all_that_is_not_katanas_is_refused_alike",
    ),
    Mutant(
        "a token signs for its own connection",
        "app/sync::Receiver._webhook",
        "Webhook.key_hash == key_hash",
        "",
        f"{RECEIVER_TESTS}::test_a_key_opens_its_own_connection_alone",
    ),
    Mutant(
        "a body has a limit",
        "app/pages",
        "request.max_content_length = DELIVERY_BYTES",
        "request.max_content_length = 10**9",
        f"{RECEIVER_TESTS}::test_all_that_is_not_katanas_is_refused_alike",
    ),
    Mutant(
        "strangers are refused before their body is read",
        "app/sync",
        'raw = body() if row else b""',
        "raw = body()",
        f"{RECEIVER_TESTS}::test_after_many_refusals_the_database_is_not_asked",
    ),
    Mutant(
        "a silent sender is cut off",
        "app/pages",
        "sock.settimeout(SILENCE_SECONDS)",
        "pass",
        f"{RECEIVER_TESTS}::test_a_body_that_does_not_come_holds_no_page_up",
    ),
    Mutant(
        "a flood is refused without the database",
        "app/sync",
        "self.limit.count(address)",
        "",
        f"{RECEIVER_TESTS}::test_after_many_refusals_the_database_is_not_asked",
    ),
    Mutant(
        "a flood blocks no known key",
        "app/sync",
        "self.limit.trust(key_hash)",
        "",
        f"{RECEIVER_TESTS}::test_a_flood_of_forged_requests_blocks_no_real_delivery",
    ),
    Mutant(
        "what says nothing is not asked for again",
        "app/sync::Receiver._hint",
        "except Unreadable as error:",
        "except LookupError as error:",
        f"{RECEIVER_TESTS}::test_what_says_nothing_is_logged_and_not_asked_for_again",
    ),
    Mutant(
        "the key stays out of the log",
        "app/operations",
        're.sub(r"(/katana/webhooks/)[^\\s?]+", r"\\1...", path)',
        "path",
        f"{RECEIVER_TESTS}::test_the_key_is_in_no_log",
    ),
    Mutant(
        "a token that does not open is sealed anew",
        "app/pages",
        "sync.current().subscriptions.check_soon(key)",
        "",
        f"{RECEIVER_TESTS}::test_a_token_that_does_not_open_is_sealed_anew",
    ),
    Mutant(
        "the key is remembered before Katana is asked",
        "app/sync",
        "if not self.rows.set(held, **anew):",
        "if False:",
        f"{SUBSCRIBED}::test_an_answer_that_was_lost_makes_no_second_one",
    ),
    Mutant(
        "a webhook is looked for before another is made",
        "app/sync::Subscriptions._as_it_should_be",
        "found = list(webhooks.registered(api))",
        "found: list[Registered] = []",
        f"{SUBSCRIBED}::test_it_is_made_once_and_found_again",
    ),
    Mutant(
        "what was disabled is enabled again",
        "app/sync",
        "if own.enabled and own.events == self.events:",
        "if own.events == self.events:",
        f"{SUBSCRIBED}::test_what_was_undone_at_katana_is_repaired",
    ),
    Mutant(
        "webhooks of other users are left alone",
        "app/sync",
        "forgotten = ours.keys() - set(known)",
        "forgotten = ours.keys()",
        f"{SUBSCRIBED}::test_others_webhooks_are_left_alone",
    ),
    Mutant(
        "webhooks of other apps are left alone",
        "app/sync",
        "webhook.url.startswith(self.base_url)",
        "bool(webhook.url)",
        f"{SUBSCRIBED}::test_others_webhooks_are_left_alone",
    ),
    Mutant(
        "a failing check backs off",
        "app/sync::Subscriptions.check",
        "pause_after(error, held.failures, FIRST_PAUSE_SECONDS)",
        "(FIRST_PAUSE_SECONDS, held.failures + 1)",
        f"{SUBSCRIBED}::test_a_failing_check_backs_off",
    ),
    Mutant(
        "disconnecting asks no second time",
        "app/sync::_in_hand",
        "if refused is not None:",
        "if False:",
        f"{SUBSCRIBED}::test_disconnecting_is_not_stopped_by_it",
    ),
    Mutant(
        "a dead worker's check is not waited for for ever",
        "app/database/leased_rows.py",
        "is_over(self.model.lease_until, self.clock, 2 * self.seconds)",
        "self.model.lease_until.is_(None)",
        f"{SUBSCRIBED}::test_a_worker_that_died_is_followed_by_another",
    ),
)


test_every_guard_is_where_the_list_says = place_test(MUTANTS)
test_every_guard_is_noticed_when_it_is_gone = notice_test(MUTANTS)
