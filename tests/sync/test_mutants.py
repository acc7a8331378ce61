"""Do the tests of sync bite? Each guard is weakened in a copy, and a test must fail.

The list is the proof: what was changed, and which test notices.
"""

from tests.support.mutants import Change, Mutant, notice_test, place_test

SYNC_ACCOUNTS_TESTS = "tests/sync/test_sync_accounts.py"
SYNC_TROUBLE_TESTS = "tests/sync/test_sync_trouble.py"
SYNC, FEED = "tests/sync/test_sync.py", "tests/sync/test_feed.py"
BUDGET, WORKER = "tests/sync/test_budget.py", "tests/sync/test_worker.py"
OUTBOX = "tests/sync/test_outbox.py"
MOVING = f"{SYNC}::test_what_moves_between_two_pages_makes_no_other_record_be_skipped"
SCALE = "tests/sync/test_scale.py"
READING = "app/sync/reading.py"
#: The rows of an ended connection that are put off.
ENDED = (
    "select(*key).join(Connection, Connection.id == table.connection_id)"
    ".where(Connection.status == Status.RECONNECT_NEEDED, of.rows)"
    ".order_by(of.column).limit(PUT_OFF_AT_ONCE)"
)

MUTANTS = [
    Mutant(
        "a page and its cursor are one commit",
        "app/sync::Reading._store",
        "self.cursors.hold(database, held)",
        "with self.engine.begin() as early:\n"
        "    self.cursors.set(early, held, values | {'lease_owner': 'nobody'})\n"
        "self.cursors.hold(database, held)",
        f"{SYNC_TROUBLE_TESTS}::test_killed_at_any_statement_it_goes_on_where_it_was",
    ),
    Mutant(
        "a pass begins before its position",
        "app/sync",
        "OVERLAP = timedelta(seconds=60)",
        "OVERLAP = timedelta(seconds=0)",
        f"{SYNC}::test_a_record_that_is_committed_late_is_found",
    ),
    Mutant(
        "pages are read from the last to the first",
        "app/sync",
        "self.page - 1",
        "(self.page + 1) % (self.pages + 1)",
        MOVING,
        also=(Change("app/sync::Pass._looked", "page=self.pages", "page=2"),),
    ),
    Mutant(
        "a window of several pages has an upper end",
        "app/sync",
        "until = self._upper_end(answer.at) if dated else None",
        "until = None",
        MOVING,
    ),
    Mutant(
        "a list that has grown is read again",
        "app/sync",
        "grown > 0",
        "False",
        MOVING,
    ),
    Mutant(
        "a whole pass of several pages takes nothing for gone",
        "app/sync",
        "return 0 if dated else self.mark - 1",
        "return self.mark",
        f"{SYNC}::test_what_changes_during_a_whole_pass_is_not_taken_for_gone",
    ),
    Mutant(
        "a full overlap is left out in the end",
        "app/sync",
        "left_behind or left_out",
        "False",
        f"{SYNC}::test_a_full_overlap_is_left_out_once_katanas_clock_has_left_it_behind",
    ),
    Mutant(
        "a whole list is read once a day",
        "app/sync",
        "not dated or old or cursor.position is None",
        "not dated or cursor.position is None",
        f"{SYNC}::test_what_vanished_without_a_trace_is_found_by_the_daily_pass",
    ),
    Mutant(
        "who has lost the lease stores nothing",
        "app/sync",
        "if not self.rows.set_within(database, held.cursor, **values):",
        "if not self.rows.set_within(database, held.cursor, **values) and False:",
        f"{SYNC_TROUBLE_TESTS}::test_a_late_holder_stores_nothing",
    ),
    Mutant(
        "a cursor has one holder",
        "app/database/leased_rows.py::LeasedRows.is_claimable",
        "self.is_free()",
        "",
        f"{SYNC_TROUBLE_TESTS}::test_a_leased_cursor_is_nobody_elses",
    ),
    Mutant(
        "a hint during a pass makes another",
        "app/sync",
        "return case((hinted, at_once), (has_webhook, rarely), else_=often)",
        "return case((has_webhook, rarely), else_=often)",
        f"{SYNC}::test_hints_coalesce_and_one_during_a_pass_makes_another",
    ),
    Mutant(
        "an equal record is no change",
        "app/sync",
        'read.columns["updated_at"] > row["updated_at"]',
        'read.columns["updated_at"] >= row["updated_at"]',
        f"{SYNC}::test_a_pass_without_changes_is_one_request_and_no_change",
    ),
    Mutant(
        "what cannot be read stops nothing",
        "app/sync",
        "bad[_name_of(record)] = str(error)",
        "raise KeyError(_name_of(record)) from error",
        f"{SYNC_TROUBLE_TESTS}::test_a_record_that_cannot_be_read_is_set_aside_and_stops_nothing",
    ),
    Mutant(
        "a date in the far future moves no cursor",
        "app/sync",
        'self.dated and at and read.columns["updated_at"] > at + AHEAD',
        'False and at and (read.columns["updated_at"] > at + AHEAD)',
        f"{SYNC_TROUBLE_TESTS}::test_a_record_that_cannot_be_read_is_set_aside_and_stops_nothing",
    ),
    Mutant(
        "what cannot be read is not taken for gone",
        "app/sync::_meet",
        "if ids:",
        "if False:",
        f"{SYNC_TROUBLE_TESTS}::test_what_was_copied_stays_while_its_record_cannot_be_read",
    ),
    Mutant(
        "a reconnect hides the copy in the moment in which it is committed",
        "app/sync::shown",
        "SyncAccount.connected_by == Connection.connected_by",
        "",
        f"{SYNC_ACCOUNTS_TESTS}::test_a_reconnect_to_another_factory_shows_nothing_of_the_earlier",
    ),
    Mutant(
        "the same name shows nothing that the new connect has not met",
        "app/sync::shown",
        "model.mark >= SyncCursor.shown_from",
        "",
        f"{SYNC_ACCOUNTS_TESTS}::test_a_reconnect_to_an_account_of_the_same_name_shows_only_what_it_has_shown",
    ),
    Mutant(
        "what is within a record of the earlier account is compared",
        "app/sync",
        "key in differ or (key in known and _is_news(scope, known[key], read))",
        "key in known and _is_news(scope, known[key], read)",
        f"{SYNC_ACCOUNTS_TESTS}::test_what_is_within_a_record_of_the_earlier_account_is_compared",
    ),
    Mutant(
        "what was told as deleted is not told again",
        "app/sync",
        "not is_told[key]",
        "",
        f"{SYNC_ACCOUNTS_TESTS}::test_a_reconnect_to_another_factory_shows_nothing_of_the_earlier",
    ),
    Mutant(
        "a page of the earlier account is not stored",
        "app/sync/accounts.py",
        "**NO_LEASE",
        "",
        f"{SYNC_ACCOUNTS_TESTS}::test_a_page_of_the_earlier_account_is_not_stored",
    ),
    Mutant(
        "a back-off has an end",
        "app/sync::Cursors",
        "exponential(failures, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)",
        "exponential(failures, FIRST_PAUSE_SECONDS, 10**9)",
        f"{SYNC_TROUBLE_TESTS}::test_a_failing_resource_backs_off_and_says_why",
    ),
    Mutant(
        "the worker leaves a reserve",
        "app/sync::Budget.take",
        "left > reserve",
        "left > 0",
        f"{BUDGET}::test_the_worker_leaves_fifteen_of_sixty",
    ),
    Mutant(
        "requests under way are not given back",
        "app/sync",
        "account.budget_left > remaining",
        "account.budget_left != remaining",
        f"{BUDGET}::test_an_answer_that_comes_late_gives_nothing_back",
    ),
    Mutant(
        "a moment of a wrong clock is over",
        "app/database/clock.py",
        "column > clock.database_time(longest)",
        "",
        (
            f"{SYNC_TROUBLE_TESTS}::test_a_moment_of_a_wrong_clock_is_over",
            f"{BUDGET}::test_a_moment_of_a_wrong_clock_stops_nobody",
        ),
    ),
    Mutant(
        "a 429 stops everybody",
        "app/sync::Budget.take",
        "update(account).where(this_one, paused, left > reserve)",
        "update(account).where(this_one, left > reserve)",
        f"{BUDGET}::test_a_429_stops_everybody_for_as_long_as_katana_asks",
    ),
    Mutant(
        "positions are given in order of commit",
        "app/sync",
        "last = _take(database, len(happened))",
        "with single_statements(database.engine).connect() as other:\n"
        "    last = _take(other, len(happened))",
        f"{FEED}::test_who_writes_later_is_seen_later",
    ),
    Mutant(
        "a reader that has missed entries is told",
        "app/sync",
        "if position < (forgotten or 0):",
        "if False:",
        f"{FEED}::test_old_entries_go_and_a_reader_that_has_missed_them_is_told",
    ),
    Mutant(
        "a change that is just deleted is not waited for",
        "app/sync::Changes.clear",
        "first.limit(CLEARED_AT_ONCE).with_for_update(skip_locked=True)",
        "first.limit(CLEARED_AT_ONCE).with_for_update()",
        f"{FEED}::test_changes_that_a_disconnect_is_deleting_are_not_waited_for",
    ),
    Mutant(
        "a row that is just claimed is not waited for",
        "app/database/leased_rows.py",
        "free.with_for_update(skip_locked=True)",
        "free.with_for_update()",
        f"{SYNC_TROUBLE_TESTS}::test_a_cursor_that_another_worker_is_just_claiming_is_not_waited_for",
    ),
    Mutant(
        "the feed keeps thirty days",
        "app/sync::Changes.clear",
        "[position for position, is_old in database.execute(batch) if is_old]",
        "[position for position, is_old in database.execute(batch)]",
        f"{FEED}::test_old_entries_go_and_a_reader_that_has_missed_them_is_told",
    ),
    Mutant(
        "a deleted record goes after a month",
        "app/sync",
        "old = or_(old, model.deleted_at < scope.clock.database_time(-KEPT_SECONDS))",
        "pass",
        f"{SYNC}::test_a_deleted_record_goes_after_a_month_and_does_not_come_back",
    ),
    Mutant(
        "what was just read is not read again for a press",
        "app/sync::Hints.update_now",
        "self._make_due(database, connection_id, rested, next_attempt_at=None)",
        "self._make_due(database, connection_id, true(), next_attempt_at=None)",
        f"{SYNC}::test_update_now_pressed_without_end_leaves_the_budget_to_others",
    ),
    Mutant(
        "what has just failed is not asked for again for a press",
        "app/sync::Hints.update_now",
        "self._is_past(SyncCursor.failed_at)",
        "",
        f"{SYNC}::test_update_now_asks_for_a_failing_list_once_in_ten_seconds",
    ),
    Mutant(
        "a long list lets others in between",
        READING,
        "PAGES_AT_ONCE = 4",
        "PAGES_AT_ONCE = 4_000",
        f"{SYNC}::test_the_first_pass_goes_in_chunks_and_says_how_far_it_is",
    ),
    Mutant(
        "a worker that is stopped gives its lease back",
        "app/sync::Cursors.under_way",
        "**NO_LEASE",
        "",
        f"{SYNC_TROUBLE_TESTS}::test_asked_to_stop_it_stores_the_page_under_way",
    ),
    Mutant(
        "a job that fails ends nothing",
        "app/operations/worker::Worker._due",
        "except Exception:",
        "except KeyError:",
        f"{WORKER}::test_a_job_that_fails_ends_nothing",
    ),
    Mutant(
        "a job has its share of the threads",
        "app/operations/worker",
        "most = min(job.at_once or self._threads, self._threads)",
        "most = self._threads",
        f"{WORKER}::test_no_more_at_once_than_its_share",
    ),
    Mutant(
        "an order is looked up before it is sent again",
        "app/sync::Outgoing._create_or_find",
        "if found is not None:",
        "if False:",
        f"{OUTBOX}::test_whatever_becomes_of_the_request_there_is_one_order",
    ),
    Mutant(
        "the outbox says that an order may have been sent before it is",
        "app/sync",
        "if not self.rows.set(held, sent_at=self.clock.database_time()):",
        "if False:",
        f"{OUTBOX}::test_whatever_becomes_of_the_request_there_is_one_order",
    ),
    Mutant(
        "a request on its way is waited for",
        "app/sync",
        "raise TryAgainLater(SETTLE_SECONDS)",
        "pass",
        f"{OUTBOX}::test_a_request_on_its_way_is_waited_for",
    ),
    Mutant(
        "a deleted order counts as sent",
        "app/sync",
        'include_deleted="true"',
        "",
        f"{OUTBOX}::test_one_that_was_deleted_at_katana_is_not_made_again",
    ),
    Mutant(
        "a number is added to the outbox once",
        "app/sync",
        "id=uuid4(),\nconnection_id=connection_id",
        "id=(n := uuid4()),\nconnection_id=connection_id",
        f"{OUTBOX}::test_the_same_number_is_added_once",
        also=(
            Change(
                "app/sync",
                "natural_key=order.order_no",
                'natural_key=f"{n} {order.order_no}"',
            ),
        ),
    ),
    Mutant(
        "a look for what is due reads what is due",
        "app/database/leased_rows.py::ranges",
        "select(clock.database_time(plus)).scalar_subquery()",
        "clock.database_time(plus)",
        f"{SCALE}::test_no_statement_that_is_asked_often_reads_all_connections",
    ),
    Mutant(
        "what begins is looked for among some",
        "app/sync::Accounts._some_in_turn",
        "IN_TURN",
        "2 * IN_TURN",
        f"{SCALE}::test_no_statement_that_is_asked_often_reads_all_connections",
    ),
    Mutant(
        "what begins is looked for among all in turn",
        "app/sync",
        "self._looked_at = some[-1] if len(some) == IN_TURN else None",
        "self._looked_at = None",
        f"{SCALE}::test_a_connection_whose_sync_has_not_begun_is_found",
    ),
    Mutant(
        "a moment too far ahead is due",
        "app/database/leased_rows.py::ranges",
        "column > far",
        "column > column",
        f"{SCALE}::test_what_is_due_is_found_wherever_its_moments_lie",
    ),
    Mutant(
        "what pauses is not due",
        "app/sync::cursor_ranges",
        "paused.is_(None)",
        "",
        f"{SCALE}::test_what_is_due_is_found_wherever_its_moments_lie",
    ),
    Mutant(
        "only what has ended is put off",
        "app/sync",
        "Connection.status == Status.RECONNECT_NEEDED",
        "",
        f"{SCALE}::test_what_is_due_of_an_ended_connection_is_put_off_until_it_is_made_again",
    ),
    Mutant(
        "a reconnect under way is not put off",
        "app/sync",
        f"{ENDED}.with_for_update(key_share=True, skip_locked=True)",
        ENDED,
        f"{SCALE}::test_a_reconnect_under_way_is_not_put_off",
    ),
]


test_every_guard_is_where_the_list_says = place_test(MUTANTS)
test_every_guard_is_noticed_when_it_is_gone = notice_test(MUTANTS)
