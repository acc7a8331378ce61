"""Beginning to connect: what keeps S-01 to S-11, and which test notices."""

from tests.mutants import Mutant

FLOW = "tests/test_security_flow.py"
OAUTH = "app/katana/oauth.py"
ATTEMPTS = "app/connections/attempts.py"
SECURITY = "app/web/security.py"

GUARDS = [
    Mutant(
        "states cannot be guessed",
        ATTEMPTS,
        "state=secrets.token_urlsafe(32)",
        "state=secrets.token_urlsafe(16)",
        f"{FLOW}::test_s01_states_are_random_and_tell_nothing",
    ),
    Mutant(
        "an attempt belongs to the browser session that began it",
        ATTEMPTS,
        "                ConnectAttempt.user_session_id == user_session_id,\n",
        "",
        f"{FLOW}::test_s02_another_browser_cannot_finish_what_this_one_began",
    ),
    Mutant(
        "an attempt is used up before Katana is asked",
        ATTEMPTS,
        "        db.session.commit()\n        if sealed is None:",
        "        db.session.rollback()\n        if sealed is None:",
        f"{FLOW}::test_s04_a_state_is_consumed_once_under_twenty_parallel_callbacks",
    ),
    Mutant(
        "an attempt of a session that has ended is no bug",
        ATTEMPTS,
        "        except IntegrityError:",
        "        except ZeroDivisionError:",
        f"{FLOW}::test_s03_signing_out_in_the_middle_of_it_all_breaks_nothing",
    ),
    Mutant(
        "an attempt ends by itself",
        ATTEMPTS,
        "                ConnectAttempt.expires_at > self._clock.database_time(),\n",
        "",
        f"{FLOW}::test_s05_an_attempt_is_good_for_ten_minutes",
    ),
    Mutant(
        "every form carries its token",
        SECURITY,
        "    csrf.init_app(app)\n",
        "    app.jinja_env.globals['csrf_token'] = str\n",
        f"{FLOW}::test_s07_only_our_own_button_begins_an_attempt",
    ),
    Mutant(
        "a code is bound to its attempt",
        OAUTH,
        'code_challenge_method="S256" if self.settings.pkce else None',
        "code_challenge_method=None",
        f"{FLOW}::test_s09_every_attempt_has_its_own_pkce_challenge",
    ),
]
