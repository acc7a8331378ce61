"""Do the tests of log, metrics and hooks bite? Each guard is weakened in a copy; a test must fail.

The list is the proof: what was changed, and which test notices. `make test-slow` goes through it.
"""

from tests.support.mutants import Mutant, notice_test, place_test

ADDRESSES_TESTS = "tests/operations/doctor/test_addresses.py"
LOGS, HOOKS = "tests/operations/test_logs.py", "tests/connections/test_hooks.py"
METRICS, PROBES = "tests/operations/test_metrics.py", "tests/operations/test_probes.py"
SERVED = f"{METRICS}::TestServed::test_workers_count_together"

MUTANTS = [
    Mutant(
        "no transaction is open while Katana is asked",
        "app/pages::_fresh_access_token",
        "db.session.rollback()",
        "",
        "tests/pages/test_dashboard.py::test_no_transaction_is_open_while_katana_is_asked",
    ),
    Mutant(
        "a change that is not committed is not discarded",
        "app/pages",
        "if db.session.new or db.session.dirty or db.session.deleted:",
        "if False:",
        f"{HOOKS}::test_what_is_not_committed_is_not_lost_while_katana_is_asked",
    ),
    Mutant(
        "a line is written once",
        "app/operations",
        "root.removeHandler(handler)",
        "pass",
        f"{LOGS}::test_a_line_is_written_once_however_many_apps_there_are",
    ),
    Mutant(
        "a message begins no line",
        "app/operations",
        "record.message = _printable(record.message)",
        "",
        f"{LOGS}::test_no_value_can_forge_a_line_of_text",
    ),
    Mutant(
        "an error begins no line",
        "app/operations",
        'f"    {_printable(line)}"',
        "line",
        f"{LOGS}::test_no_error_can_forge_a_line_of_text",
    ),
    Mutant(
        "an id ends with its request",
        "app/operations",
        "_request_id.reset(token)",
        "pass",
        f"{LOGS}::TestRequestIds::test_a_line_outside_of_requests_has_none",
    ),
    Mutant(
        "an id is a plain word",
        "app/operations",
        "SOUND.fullmatch(given)",
        "given",
        f"{LOGS}::TestRequestIds::test_an_id_that_is_no_plain_word_is_replaced",
    ),
    Mutant(
        "only a proxy gives an id",
        "app/operations",
        'environ.get("HTTP_X_REQUEST_ID", "") if self._behind_proxy else ""',
        'environ.get("HTTP_X_REQUEST_ID", "")',
        f"{LOGS}::TestRequestIds::test_a_proxy_may_give_it",
    ),
    Mutant(
        "threads carry the id of their command",
        "app/connections/fleet",
        "executor.submit(copy_context().run, refresh_unless_stopped, snapshot)",
        "executor.submit(refresh_unless_stopped, snapshot)",
        f"{LOGS}::test_the_lines_of_a_command_carry_its_run",
    ),
    Mutant(
        "no query is logged",
        "gunicorn.conf.py",
        'environ.get("PATH_INFO")',
        'environ.get("RAW_URI")',
        f"{LOGS}::TestServed",
    ),
    Mutant(
        "the server of developers logs no query",
        "app/operations",
        'logging.getLogger("werkzeug").addFilter(without_query)',
        "pass",
        f"{LOGS}::test_the_server_of_developers_writes_no_query_either",
    ),
    Mutant(
        "gunicorn's lines have the form of the app's",
        "gunicorn.conf.py",
        "handler.setFormatter(logs.formatter(form))",
        "pass",
        f"{LOGS}::TestServed",
    ),
    Mutant(
        "metrics are for who knows the token",
        "app/operations",
        'return hmac.compare_digest((token or "").encode(), self._token.encode())',
        "return bool(token)",
        f"{METRICS}::test_metrics_are_for_who_knows_the_token",
    ),
    Mutant(
        "metrics are off until somebody turns them on",
        "app/operations",
        "Metrics(token, Gauges(fleet)) if token else None",
        'Metrics(token or "", Gauges(fleet))',
        f"{METRICS}::test_without_a_token_there_are_no_metrics",
    ),
    Mutant(
        "workers count together",
        "app/operations",
        'if "PROMETHEUS_MULTIPROC_DIR" in os.environ:',
        "if False:",
        SERVED,
    ),
    Mutant(
        "ending twice at once hangs no worker",
        "gunicorn.conf.py",
        "worker.handle_quit = worker.handle_exit",
        "pass",
        "tests/connections/test_refresh_served.py::test_workers_told_to_end_in_the_midst_of_ending_still_end",
    ),
    Mutant(
        "nothing is left of the counts",
        "gunicorn.conf.py",
        "shutil.rmtree(folder, ignore_errors=True)",
        "pass",
        SERVED,
    ),
    Mutant(
        "an outage of the database hides no counter",
        "app/operations::Gauges.collect",
        "except (SQLAlchemyError, TimeoutError):",
        "except TimeoutError:",
        f"{METRICS}::test_without_a_database_the_counters_are_still_told",
    ),
    Mutant(
        "the oldest overdue refresh is found by its index",
        "app/connections/fleet",
        "Connection.failures > 0",
        "Connection.failures != 0",
        f"{METRICS}::test_each_gauge_is_read_by_an_index",
    ),
    Mutant(
        "a lease that was taken over is told",
        "app/connections",
        "took_over = snapshot.lease_until is not None",
        "took_over = False",
        f"{HOOKS}::test_receivers_are_told_that_a_lease_was_taken_over",
    ),
    Mutant(
        "a duration begins at the claim",
        "app/connections",
        "self._clock.monotonic() - lease.claimed",
        "0.0",
        f"{HOOKS}::test_receivers_are_told_how_long_a_refresh_took",
    ),
    Mutant(
        "a receiver has a session of its own",
        "app/connections",
        "return current_app.app_context() if has_app_context() else nullcontext()",
        "return nullcontext()",
        f"{HOOKS}::test_what_a_receiver_breaks_is_its_own",
    ),
    Mutant(
        "a receiver that raises harms nothing",
        "app/connections::_call",
        "Exception",
        "ZeroDivisionError",
        f"{HOOKS}::test_what_a_receiver_breaks_is_its_own",
    ),
    Mutant(
        "a probe waits no longer than it must",
        "app/operations",
        "pending.result(PATIENCE_SECONDS)",
        "pending.result()",
        f"{PROBES}::test_a_database_that_hangs_is_not_ready",
    ),
    Mutant(
        "doctor follows the authorization page",
        "app/operations/doctor",
        "origins.append(_origin(url))",
        "",
        f"{ADDRESSES_TESTS}::test_an_authorization_page_at_another_origin_is_told",
    ),
    Mutant(
        "doctor sees that users are sent back at once",
        "app/operations/doctor",
        'if url.partition("?")[0] == examined.settings.katana.redirect_uri:',
        "if False:",
        f"{ADDRESSES_TESTS}::test_an_authorization_page_that_does_not_open_is_found",
    ),
    Mutant(
        "doctor names proxies in vain",
        "app/operations/doctor",
        "if proxies:\n"
        '    yield warning("environment", f"{_are_set(proxies)}: requests to Katana '
        'ignore that and go directly.", "Let this machine reach Katana\'s login and API '
        'directly on port 443.")',
        "if False:\n"
        '    yield warning("environment", f"{_are_set(proxies)}: requests to Katana '
        'ignore that and go directly.", "Let this machine reach Katana\'s login and API '
        'directly on port 443.")',
        f"{ADDRESSES_TESTS}::test_what_the_environment_names_in_vain_is_told",
    ),
    Mutant(
        "doctor tells the system's certificates from a company's",
        "app/operations/doctor",
        "not _is_the_systems(place)",
        "place",
        f"{ADDRESSES_TESTS}::test_the_systems_own_certificates_are_no_finding",
    ),
    Mutant(
        "a question that hangs is asked once",
        "app/operations",
        "if self._pending is None or self._pending.done() or given_up:",
        "if True:",
        f"{PROBES}::test_a_question_that_hangs_is_asked_once",
    ),
    Mutant(
        "a question that hangs for long is asked anew",
        "app/operations",
        "self._pending is None or self._pending.done() or given_up",
        "self._pending is None or self._pending.done()",
        f"{PROBES}::test_a_question_that_hangs_for_long_is_asked_anew",
    ),
    Mutant(
        "a scrape counts no connections",
        "app/operations",
        "counted = fleet.counts.last()",
        "fleet.counts.renew()\ncounted = fleet.counts.last()",
        f"{METRICS}::test_connections_are_counted_once_a_minute_and_the_age_of_the_count_is_told",
    ),
    Mutant(
        "the age of a count is that of its beginning",
        "app/connections/fleet",
        "max(0.0, (now_at - at).total_seconds())",
        "0.0",
        f"{METRICS}::test_connections_are_counted_once_a_minute_and_the_age_of_the_count_is_told",
    ),
    Mutant(
        "one worker counts",
        "app/database/leased_rows.py::LeasedRows.is_claimable",
        "self.is_free()",
        "",
        f"{METRICS}::test_of_several_workers_one_counts",
    ),
    Mutant(
        "a count that has lost its lease is not stored",
        "app/database/leased_rows.py",
        "self.model.lease_owner == held.lease_owner",
        "",
        f"{METRICS}::test_of_several_workers_one_counts",
    ),
    Mutant(
        "a count from a wrong clock is renewed",
        "app/connections/fleet",
        "at > wrong",
        "",
        f"{METRICS}::test_a_count_from_a_wrong_clock_is_renewed",
    ),
]


test_every_guard_is_where_the_list_says = place_test(MUTANTS)
test_every_guard_is_noticed_when_it_is_gone = notice_test(MUTANTS)
