"""Beginning to connect: what keeps S-01 to S-11, and which test notices."""

from tests.support.mutants import Change, Mutant

FLOW = "tests/security/test_flow.py"

#: A verifier is sealed to the session of its attempt, as if that were not looked up by it as well.
VERIFIER_OF_ANYBODY = Change("app/connections::_verifier_aad", "str(user_session_id)", '""')

GUARDS = [
    Mutant(
        "states cannot be guessed",
        "app/connections",
        "state=secrets.token_urlsafe(32)",
        "state=secrets.token_urlsafe(16)",
        f"{FLOW}::test_s01_states_are_random_and_tell_nothing",
    ),
    Mutant(
        "an attempt belongs to the browser session that began it",
        "app/connections::Attempts.consume",
        "ConnectAttempt.user_session_id == user_session_id",
        "",
        (
            f"{FLOW}::test_s02_another_browser_cannot_finish_what_this_one_began",
            f"{FLOW}::test_s03_an_address_at_katana_that_was_mailed_connects_nobody",
        ),
        also=(VERIFIER_OF_ANYBODY,),
    ),
    Mutant(
        "an attempt ends with the session of the user who began it",
        "app/connections::Attempts.consume",
        "ConnectAttempt.user_session_id == user_session_id",
        "",
        f"{FLOW}::test_s03_another_user_in_the_same_browser_cannot_finish_it",
        also=(
            VERIFIER_OF_ANYBODY,
            Change(
                "app/accounts::end",
                "_hash_of(token)",
                "token",
            ),
        ),
    ),
    Mutant(
        "a button names nobody",
        "templates/parts.html",
        """<form method="post" action="{{ url_for('connect.connect') }}">""",
        """<form method="post" action="{{ url_for('connect.connect') }}">"""
        """<input type="hidden" name="user_id" value="{{ current_user.id }}">""",
        f"{FLOW}::test_s03_the_button_sends_nothing_that_names_a_user_or_an_attempt",
    ),
    Mutant(
        "an attempt is used up before Katana is asked",
        "app/connections",
        "db.session.commit()\nif sealed is None:",
        "db.session.rollback()\nif sealed is None:",
        (
            f"{FLOW}::test_s04_a_state_is_consumed_once_under_twenty_parallel_callbacks",
            f"{FLOW}::test_s04_a_cookie_from_before_makes_no_state_good_again",
            f"{FLOW}::test_s04_a_refused_code_uses_its_state_up",
        ),
    ),
    Mutant(
        "an attempt under way is not consumed again",
        "app/connections",
        "ConnectAttempt.sealed_verifier != CONSUMED",
        "",
        "tests/connections/test_attempts.py::test_an_attempt_works_once",
    ),
    Mutant(
        "a repeat waits for the first callback",
        "app/pages",
        "_wait_for_first(answer.state)",
        "pass",
        f"{FLOW}::test_s04_a_repeat_during_the_exchange_waits_for_the_result_of_the_first",
    ),
    Mutant(
        "an exchange that ended is noted",
        "app/pages",
        "attempts.finish(answer.state)",
        "pass",
        f"{FLOW}::test_s04_a_repeat_of_what_failed_says_that_it_was_used",
    ),
    Mutant(
        "a form on an error page shows where it comes from",
        "app/pages",
        '"strict-origin" if told.connect else "no-referrer"',
        '"no-referrer"',
        f"{FLOW}::test_s04_a_repeat_of_what_failed_says_that_it_was_used",
    ),
    Mutant(
        "a late callback is told why",
        "app/connections",
        "self._clock.database_time(-KEPT_SECONDS)",
        "self._clock.database_time()",
        "tests/connections/test_attempts.py::test_a_refusal_says_why",
    ),
    Mutant(
        "an attempt of a session that has ended is no bug",
        "app/connections",
        "except IntegrityError:",
        "except ZeroDivisionError:",
        f"{FLOW}::test_s03_signing_out_in_the_middle_of_it_all_breaks_nothing",
    ),
    Mutant(
        "an attempt ends by itself",
        "app/connections",
        "self._has_not_expired(LIFE_SECONDS)",
        "",
        f"{FLOW}::test_s05_an_attempt_is_good_for_ten_minutes",
    ),
    Mutant(
        "every form carries its token",
        "app/pages",
        "csrf.init_app(app)",
        "app.jinja_env.globals['csrf_token'] = str",
        f"{FLOW}::test_s07_only_our_own_button_begins_an_attempt",
    ),
    Mutant(
        "a code is bound to its attempt",
        "app/katana",
        'code_challenge_method="S256" if self.settings.pkce else None',
        "code_challenge_method=None",
        f"{FLOW}::test_s09_every_attempt_has_its_own_pkce_challenge",
    ),
    Mutant(
        "every attempt has a verifier of its own",
        "app/connections::Attempts.begin",
        "code_verifier=new_code_verifier()",
        'code_verifier="v" * 64',
        (
            f"{FLOW}::test_s09_every_attempt_has_its_own_pkce_challenge",
            f"{FLOW}::test_s11_a_code_of_another_attempt_is_worth_nothing",
        ),
    ),
    Mutant(
        "a refused code is told by its word",
        "app/katana",
        'if code == "invalid_grant" or code in USER_ACTION_REQUIRED:',
        'if (code == "invalid_grant" or code in USER_ACTION_REQUIRED) and status == 400:',
        f"{FLOW}::test_s09_a_verifier_that_does_not_fit_is_a_plain_failure",
    ),
    Mutant(
        "attempts live side by side",
        "app/connections",
        "MAX_PER_SESSION = 50",
        "MAX_PER_SESSION = 1",
        f"{FLOW}::test_s06_forty_attempts_live_side_by_side_and_weigh_nothing",
    ),
    Mutant(
        "what is begun is kept on the server",
        "app/pages",
        "attempt = parts.attempts.begin(current_user.session_id)",
        "attempt = parts.attempts.begin(current_user.session_id)\n"
        "session[attempt.state] = attempt.code_verifier",
        (
            f"{FLOW}::test_s06_forty_attempts_live_side_by_side_and_weigh_nothing",
            f"{FLOW}::test_s10_a_browser_holds_neither_state_nor_verifier",
        ),
        also=(
            Change(
                "app/pages/connect.py",
                "from flask import Blueprint, flash, make_response, redirect, render_template, "
                "request, url_for",
                "from flask import Blueprint, flash, make_response, redirect, render_template, "
                "request, session, url_for",
            ),
        ),
    ),
]
