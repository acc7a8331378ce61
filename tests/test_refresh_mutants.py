"""Do the tests bite? Each guard of refreshing is weakened in a copy, and a test must fail.

The list is the proof: what was changed, and which test notices.
"""

from pathlib import Path

import pytest

from tests.mutants import Change, Mutant, assert_in_place, assert_noticed

REFRESH, LEASES = "app/connections/refresh.py", "app/connections/leases.py"
OUTCOMES, BOUNDS = "app/connections/outcomes.py", "app/connections/clock_bounds.py"
TROUBLE = "tests/test_refresh_trouble.py"
SAVING, INCIDENTS = "app/connections/saving.py", "app/connections/circuit_breaker.py"

MUTANTS = [
    Mutant(
        "a response that cannot be saved is staged",
        REFRESH,
        "                file = file or self._stage(lease, columns)\n",
        "",
        "tests/test_staged.py::test_the_next_process_stores_it",
    ),
    Mutant(
        "a takeover looks for a staged response",
        REFRESH,
        "        self.store_staged(seen.id)\n",
        "",
        "tests/test_staged.py::test_a_caller_that_takes_over_looks_for_it_first",
    ),
    Mutant(
        "a staged response that no row takes is revoked",
        REFRESH,
        "            self._discard_late_grant(lease, grant)\n        remove(response.path)\n",
        "        remove(response.path)\n",
        "tests/test_staged.py::test_after_a_disconnect_it_is_revoked",
    ),
    Mutant(
        "a staged response of a connection that this database does not know is kept",
        REFRESH,
        "            if not self._leases.knows(lease):\n",
        "            if False:\n",
        "tests/test_staged.py::test_of_a_connection_that_was_never_here_it_is_left",
    ),
    Mutant(
        "a file that a full disk cut short is not taken for a response",
        "app/connections/staged_responses.py",
        "            file.flush()\n            os.fsync(file.fileno())\n",
        "            file.truncate(100)\n",
        "tests/test_staged.py::test_the_next_process_stores_it",
    ),
    Mutant(
        "a move waits for staged responses",
        "app/operations/commands/move_database.py",
        "    _require_none_staged()\n",
        "",
        "tests/test_moving.py::test_it_does_not_leave_a_staged_response_behind",
    ),
    Mutant(
        "a rotation of keys stores staged responses first",
        "app/operations/commands/keys.py",
        "    parts.current().refresh.store_staged()\n",
        "",
        "tests/test_keys.py::test_a_staged_response_comes_under_the_new_key",
    ),
    Mutant(
        "a staged response belongs to its database",
        "app/connections/staged_responses.py",
        'f"{self._database}-{connection_id}-*.json"',
        'f"*-{connection_id}-*.json"',
        "tests/test_staged.py::test_the_files_of_another_database_are_left_alone",
    ),
    Mutant(
        "a session of a SQLite file that was replaced is ended",
        "app/database/engine.py",
        "        pool.check_file(engine)\n",
        "",
        "tests/test_sqlite_sessions.py::test_a_file_that_was_replaced_is_opened_anew",
    ),
    Mutant(
        "a session that only reads is ended",
        "app/database/pool.py",
        "            context.is_disconnect = True\n",
        "            pass\n",
        "tests/test_response_in_hand.py::test_a_failover_between_claim_and_save",
        also=(
            Change(
                "app/database/pool.py",
                '    return bool(read_only == "off")\n',
                "    return True\n",
            ),
        ),
    ),
    Mutant(
        "readiness asks whether it can write",
        "app/operations/health.py",
        '        connection.execute(delete(RateLimit).where(RateLimit.key == ""))\n',
        "",
        "tests/test_pages.py::test_a_database_that_takes_no_write_is_not_ready",
    ),
    Mutant(
        "only what the claim returns is sent",
        LEASES,
        '        Connection.generation == bindparam("seen_generation"),\n',
        '        Connection.generation >= bindparam("seen_generation"),\n',
        "tests/test_refresh.py::test_reconnecting_before_the_send_stops_it",
    ),
    Mutant(
        "the claim is for the generation that was seen",
        LEASES,
        '        Connection.generation == bindparam("seen_generation"),\n',
        '        Connection.generation >= bindparam("seen_generation"),\n',
        "tests/test_refresh.py::test_a_claim_on_what_has_moved_is_refused",
    ),
    Mutant(
        "one holder at a time",
        LEASES,
        "        or_(mine, is_over(Connection.lease_until, clock, LEASE_AHEAD_SECONDS)),\n",
        "",
        "tests/test_refresh.py::test_a_claim_on_what_is_leased_is_refused",
    ),
    Mutant(
        "who slept does not send",
        REFRESH,
        "        if self._clock.monotonic() > send_before:",
        "        if False:",
        "tests/test_refresh.py::test_who_wakes_up_too_late_does_not_send",
    ),
    Mutant(
        "who slept until right before the send does not send",
        "app/katana/transport.py",
        "if self.send_before is not None and monotonic() > self.send_before:",
        "if False:",
        "tests/test_refresh_crashes.py::test_a_process_that_wakes_up_after_its_lease_does_not_send",
    ),
    Mutant(
        "an answer is saved only over the generation that was sent",
        SAVING,
        ".where(Connection.id == lease.connection_id, or_(same_generation, older_response))",
        ".where(Connection.id == lease.connection_id)",
        "tests/test_refresh.py::test_reconnecting_meanwhile_wins",
    ),
    Mutant(
        "of two answers the later one stays",
        SAVING,
        "Connection.written_fence < lease.fence",
        "Connection.written_fence != lease.fence",
        "tests/test_refresh_crashes.py::test_two_answers_to_one_token_end_with_the_newer_one",
    ),
    Mutant(
        "an answer that is late but alone is saved",
        SAVING,
        "or_(same_generation, older_response))",
        "or_(same_generation, older_response), Connection.lease_until > clock.database_time())",
        "tests/test_refresh_crashes.py::test_an_answer_in_a_sleeping_hand_is_not_thrown_away",
    ),
    Mutant(
        "saving goes on until the database is back",
        REFRESH,
        "(DBAPIError, PoolTimeout):\n                file = file or self._stage(lease, columns)\n",
        "ZeroDivisionError:\n                file = file or self._stage(lease, columns)\n",
        "tests/test_refresh_database.py",
    ),
    Mutant(
        "a save that was committed counts",
        REFRESH,
        ") or self._leases.is_saved(lease)",
        ")",
        "tests/test_refresh_database.py",
    ),
    Mutant(
        "the token is saved before it is handed out",
        REFRESH,
        "        return self._save(lease, grant, pause=pause, failures=failures)",
        "        return grant.access_token",
        "tests/test_refresh.py::test_an_expired_token_is_renewed_once",
    ),
    Mutant(
        "one refusal is not believed",
        OUTCOMES,
        "    if lease.refused_before or (lease.doubtful and lease.failures <= 1):",
        "    if True:",
        "tests/test_refresh.py::test_one_refusal_is_not_believed",
    ),
    Mutant(
        "a host that was suspended is late",
        "app/database/clock.py",
        "return time.clock_gettime(_COUNTS_WHILE_SUSPENDED)",
        "return time.monotonic()",
        "tests/test_refresh.py::test_a_host_that_was_suspended_does_not_send",
    ),
    Mutant(
        "a refusal is of the token that was sent",
        LEASES,
        "        .where(_HELD, or_(~refused, _UNMOVED))\n",
        "        .where(_HELD)\n",
        "tests/test_refresh.py::test_a_verdict_on_what_has_moved_is_refused",
    ),
    Mutant(
        "a lost answer is named as the cause",
        OUTCOMES,
        "        if lease.doubtful:\n",
        "        if not lease.refused_before:\n",
        "tests/test_refresh.py::test_an_answer_lost_in_an_outage_is_named_as_the_cause",
    ),
    Mutant(
        "many refusals are Katana's trouble",
        OUTCOMES,
        "    if circuit_open:\n",
        "    if False:\n",
        "tests/test_refresh.py::test_katana_refusing_everybody_ends_nobody",
    ),
    Mutant(
        "during an incident one is tried now and then",
        REFRESH,
        "return self._take(seen) if self._breaker.allows_request() else None, visit",
        "return self._take(seen), visit",
        "tests/test_refresh.py::test_katana_refusing_everybody_ends_nobody",
    ),
    Mutant(
        "one thread of a process asks for the lease",
        REFRESH,
        "            if not entered:\n",
        "            if False:\n",
        "tests/test_refresh.py::test_one_thread_of_a_process_asks_for_the_lease",
    ),
    Mutant(
        "a lost answer leaves a doubt",
        OUTCOMES,
        "        spent=isinstance(error, AnswerLost),\n",
        "        spent=False,\n",
        "tests/test_refresh.py",
    ),
    Mutant(
        "a pause is kept by everybody",
        LEASES,
        "        is_over(Connection.next_attempt_at, clock, PAUSE_AHEAD_SECONDS),\n",
        "",
        "tests/test_refresh.py::test_a_claim_during_a_pause_is_refused",
    ),
    Mutant(
        "a refused token is not used again",
        REFRESH,
        "        return token if token != refused else None",
        "        return token",
        "tests/test_refresh.py::test_a_refused_token_is_renewed_once_for_all_who_had_it",
    ),
    Mutant(
        "who did not get the lease does not send",
        LEASES,
        "        or_(mine, is_over(Connection.lease_until, clock, LEASE_AHEAD_SECONDS)),\n",
        "        or_(mine, is_over(Connection.lease_until, clock, 0)),\n",
        "tests/test_refresh.py::test_a_claim_on_what_is_leased_is_refused",
    ),
    Mutant(
        "the wait for the claim counts",
        LEASES,
        "        took_over = seen.lease_until is not None\n",
        "        took_over = seen.lease_until is not None\n"
        "        claimed = self._clock.monotonic()\n",
        "tests/test_refresh.py::test_a_claim_holds_from_before_it_was_made",
    ),
    Mutant(
        "a verdict is for the generation that was sent",
        LEASES,
        "        .where(_HELD, _UNMOVED)\n",
        "        .where(_HELD)\n",
        "tests/test_refresh.py::test_a_verdict_on_what_has_moved_is_refused",
    ),
    Mutant(
        "moments are the database's",
        "app/database/clock.py",
        "        return DatabaseTime(literal(float(plus), Float))",
        "        from datetime import UTC, datetime\n\n"
        "        from sqlalchemy import bindparam\n\n"
        "        def ours():\n"
        "            return datetime.fromtimestamp(time.time() + plus, UTC)\n\n"
        "        return bindparam(None, type_=Timestamp, callable_=ours)",
        "tests/test_wrong_clock.py::test_a_living_token_is_alive_for_all",
    ),
    Mutant(
        "nobody asks the clock of this machine",
        INCIDENTS,
        "from app.database.clock import Clock\n",
        "from time import time\n\nfrom app.database.clock import Clock\n",
        "tests/test_repository.py::test_no_worker_judges_by_its_own_clock",
    ),
    Mutant(
        "a save that counted is not taken for the grant that came after it",
        SAVING,
        "        _of_the_same_token(lease),\n        Connection.written_fence == lease.fence,",
        "        Connection.written_fence == lease.fence,",
        "tests/test_refresh_database.py",
    ),
    Mutant(
        "a token that is saved late lives no longer for it",
        "app/connections/token_columns.py",
        "usable_seconds(grant.expires_in) - age",
        "usable_seconds(grant.expires_in)",
        "tests/test_refresh_database.py",
    ),
    Mutant(
        "renewals are spread",
        "app/connections/token_columns.py",
        "MARGIN_SECONDS) * jitter(1, 2)",
        "MARGIN_SECONDS) * 1.5",
        "tests/test_refresh.py::test_connections_made_together_are_not_renewed_together",
    ),
    Mutant(
        "pauses are spread",
        "app/connections/backoff.py",
        "    return growing(failures) * jitter(1, 1.5)",
        "    return growing(failures) * 1.25",
        "tests/test_refresh.py::test_pauses_after_a_failure_are_spread",
    ),
    Mutant(
        "a holder that must have died is not waited for",
        REFRESH,
        "        if seen.working > PATIENCE_SECONDS:",
        "        if False:",
        "tests/test_refresh.py::test_a_holder_that_must_have_died_is_not_waited_for",
    ),
    Mutant(
        "renewing ahead of the end may fail",
        REFRESH,
        "        except (DBAPIError, PoolTimeout, SealBroken):",
        "        except ZeroDivisionError:",
        "tests/test_refresh_database.py",
    ),
    Mutant(
        "what was refreshed during a disconnect and a connect is not revoked",
        REFRESH,
        "        if self._leases.connected(lease.user_id):",
        "        if self._leases.read(lease.connection_id):",
        "tests/test_refresh.py",
    ),
    Mutant(
        "connecting is no sign that Katana renews again",
        INCIDENTS,
        ".where(renewed, Connection.refreshed_at < now)",
        ".where(Connection.refreshed_at < now)",
        "tests/test_refresh.py::test_connecting_is_no_sign_that_katana_renews_again",
    ),
    Mutant(
        "a refusal after an outage counts as one",
        LEASES,
        "            refused_at=func.coalesce(refusal, Connection.refused_at),\n",
        "",
        "tests/test_refresh.py::test_refusals_that_follow_an_outage_are_part_of_it",
    ),
    Mutant(
        "a refusal after an outage is asked about once more",
        OUTCOMES,
        "(lease.doubtful and lease.failures <= 1)",
        "lease.doubtful",
        "tests/test_refresh.py::test_refusals_that_follow_an_outage_are_part_of_it",
    ),
    Mutant(
        "who comes second to a row gets a row count",
        "app/settings/config.py",
        "default_transaction_isolation=read",
        "cursor_tuple_fraction=0.1 -c application_name=read",
        "tests/test_refresh_database.py",
    ),
    Mutant(
        "nothing is kept in a session of the database",
        "app/settings/config.py",
        '            "prepare_threshold": None,\n',
        "",
        "tests/test_refresh_database.py",
    ),
    Mutant(
        "a refresh token that is not given anew is kept",
        "app/connections/token_columns.py",
        "    if grant.refresh_token is not None:",
        "    if True:",
        "tests/test_refresh.py::test_an_answer_without_a_refresh_token_keeps_the_old_one",
    ),
    Mutant(
        "who takes over waits for a holder that saves late",
        REFRESH,
        "        if lease is None or not lease.took_over:",
        "        if True:",
        f"{TROUBLE}::TestTakingOver::test_a_holder_that_could_not_save_saves_first",
    ),
    Mutant(
        "a holder reads on until its lease nearly ends",
        REFRESH,
        "self._login.refresh(refresh_token, send_before, self.answer_seconds)",
        "self._login.refresh(refresh_token, send_before, 10.0)",
        f"{TROUBLE}::test_a_slow_response_is_read_until_the_lease_nearly_ends",
    ),
    Mutant(
        "what only the user can mend ends a connection",
        "app/katana/oauth.py",
        " or word in USERS_TO_MEND:",
        ":",
        f"{TROUBLE}::test_what_only_the_user_can_mend_is_confirmed_and_ends",
    ),
    Mutant(
        "one that fails alone for hours is named",
        REFRESH,
        "        if seen.failing_for >= FOR_HOURS_SECONDS and self._others_renewed(seen):",
        "        if False:",
        f"{TROUBLE}::test_one_that_is_refused_for_hours_offers_reconnect",
    ),
    Mutant(
        "what hits everybody is no user's to mend",
        INCIDENTS,
        "            return connection.execute(self._others, this_one).first() is not None",
        "            return True",
        f"{TROUBLE}::test_a_refusal_of_everybody_offers_nobody_to_reconnect",
    ),
    Mutant(
        "a refused token that is fresh makes the pauses grow",
        REFRESH,
        "(still_good and lease.token_age < FRESH_SECONDS)",
        "False",
        "tests/test_refresh.py::test_an_api_that_refuses_every_token_is_not_a_refresh_loop",
    ),
    Mutant(
        "Retry-After is kept on any status",
        "app/katana/oauth.py",
        "(text, retry_after.seconds(response))",
        "(text, retry_after.seconds(response) if status == 429 else None)",
        f"{TROUBLE}::test_retry_after_is_kept_on_any_status",
    ),
    Mutant(
        "a moment too far ahead is over for keep-alive",
        "app/connections/fleet/keep_alive.py",
        "            is_over(Connection.next_attempt_at, self._clock, PAUSE_AHEAD_SECONDS),\n",
        "            is_over(Connection.next_attempt_at, self._clock, 10**9),\n",
        "tests/test_keep_alive.py::test_a_moment_of_a_wrong_clock_keeps_none_out",
    ),
    Mutant(
        "a moment too far ahead is over in the list",
        "app/connections/fleet/overview.py",
        "if at and (at - self.at).total_seconds() <= longest]",
        "if at]",
        "tests/test_commands.py::test_a_moment_of_a_wrong_clock_is_not_listed",
    ),
    Mutant(
        "a staged response is stored at the start",
        "wsgi.py",
        "        start_up.store_staged(app)\n",
        "",
        "tests/test_response_in_hand.py::test_killed_while_the_database_is_away",
    ),
    Mutant(
        "a moment too far ahead is over for the claim",
        BOUNDS,
        "        column > clock.database_time(longest),\n",
        "",
        f"{TROUBLE}::TestClockSetRight",
    ),
    Mutant(
        "a moment too far ahead is over for who looks",
        BOUNDS,
        "if 0 < left <= longest else 0.0",
        "if 0 < left else 0.0",
        f"{TROUBLE}::TestClockSetRight",
    ),
    Mutant(
        "the history is bounded",
        LEASES,
        '        self._count(self._bounding, {"whose": lease.user_id})\n',
        "",
        f"{TROUBLE}::test_the_history_is_bounded",
    ),
    Mutant(
        "renewals are counted",
        SAVING,
        'renewals=Connection.renewals + int("refreshed_at" in columns),',
        "renewals=Connection.renewals,",
        f"{TROUBLE}::test_renewals_are_counted_and_begin_anew_with_a_grant",
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_every_guard_is_where_the_list_says(mutant: Mutant) -> None:
    """Each stands in the code exactly once, so that the list stays true."""
    assert_in_place(mutant)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_every_guard_is_noticed_when_it_is_gone(mutant: Mutant, tmp_path: Path) -> None:
    """Without the guard, its tests fail."""
    assert_noticed(mutant, tmp_path / "tree")
