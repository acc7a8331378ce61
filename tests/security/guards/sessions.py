"""Browser sessions: what keeps S-50 to S-59, and which tests notice."""

from tests.support.mutants import Mutant

TESTS = "tests/security/test_sessions.py"
SESSIONS = "app/accounts/sessions.py"
CONFIG = "app/settings/flask_config.py"
THIS_ONE = ".where(UserSession.token_hash == _hash_of(token))"

GUARDS = [
    Mutant(
        "the table opens no session",
        SESSIONS,
        "    return hashlib.sha256(token.encode()).hexdigest()",
        "    return token",
        f"{TESTS}::test_s50_the_table_opens_no_session",
    ),
    Mutant(
        "a cookie that nobody signed breaks nothing",
        SESSIONS,
        "except (KeyError, BadSignature):",
        "except KeyError:",
        f"{TESTS}::test_s50_a_made_up_cookie_is_nobodys",
    ),
    Mutant(
        "sessions that have run out are cleared away",
        SESSIONS,
        "    db.session.execute(delete(UserSession).where(UserSession.id.in_(_expired())))\n",
        "",
        f"{TESTS}::test_s55_what_has_run_out_is_cleared_away",
    ),
    Mutant(
        "signing in is a new session",
        SESSIONS,
        "    end()\n    token = ",
        "    token = ",
        f"{TESTS}::test_s51_signing_in_again_ends_the_session_before",
    ),
    Mutant(
        "signing in takes no token from before",
        SESSIONS,
        "    end()\n    token = secrets.token_urlsafe(32)\n",
        '    token = session.get("_user_id") or secrets.token_urlsafe(32)\n    end()\n',
        f"{TESTS}::test_s51_signing_in_is_a_new_session_for_whoever_planted_the_old",
    ),
    Mutant(
        "a session is in the cookie alone",
        SESSIONS,
        "signing.loads(request.cookies[self.get_cookie_name(app)])",
        "signing.loads("
        "request.cookies.get(self.get_cookie_name(app)) or request.args['katana_session'])",
        f"{TESTS}::test_s52_no_session_is_taken_from_an_address",
    ),
    Mutant(
        "of two session cookies neither is believed",
        "app/pages/security.py",
        "    app.before_request(refuse_two_sessions)\n",
        "",
        f"{TESTS}::test_s53_of_two_session_cookies_neither_is_believed",
    ),
    Mutant(
        "scripts do not see the session",
        CONFIG,
        '"SESSION_COOKIE_HTTPONLY": True',
        '"SESSION_COOKIE_HTTPONLY": False',
        f"{TESTS}::test_s53_s56_every_cookie_is_kept_from_scripts_and_never_remembered",
    ),
    Mutant(
        "scripts do not see a known browser",
        "app/accounts/device_cookies.py",
        "        httponly=True,\n",
        "",
        f"{TESTS}::test_s53_s56_every_cookie_is_kept_from_scripts_and_never_remembered",
    ),
    Mutant(
        "a browser that is closed is signed out",
        SESSIONS,
        "login_user(user)",
        "login_user(user, remember=True)",
        f"{TESTS}::test_s53_s56_every_cookie_is_kept_from_scripts_and_never_remembered",
    ),
    Mutant(
        "signing out ends the session on the server",
        SESSIONS,
        f"{THIS_ONE})",
        ".where(UserSession.token_hash == token))",
        f"{TESTS}::test_s54_a_cookie_copied_before_signing_out_is_dead",
    ),
    Mutant(
        "no link signs anybody out",
        "app/accounts/views.py",
        '@bp.post("/sign-out")',
        '@bp.route("/sign-out", methods=["GET", "POST"])',
        f"{TESTS}::test_s54_nobody_is_signed_out_by_a_link_or_a_forged_form",
    ),
    Mutant(
        "sessions end one by one",
        SESSIONS,
        f"{THIS_ONE})",
        f".where(UserSession.user_id.in_(select(UserSession.user_id){THIS_ONE})))",
        f"{TESTS}::test_s54_signing_out_in_one_browser_leaves_the_other",
    ),
    Mutant(
        "a session ends when nobody comes",
        SESSIONS,
        "            UserSession.last_seen_at > now(-IDLE_SECONDS),\n",
        "",
        f"{TESTS}::test_s55_a_session_ends_by_itself",
    ),
    Mutant(
        "a session ends in any case",
        SESSIONS,
        "            UserSession.expires_at > now(),\n",
        "",
        f"{TESTS}::test_s55_a_session_ends_by_itself",
    ),
    Mutant(
        "a visit puts off one end",
        SESSIONS,
        "        db.session.execute(seen.values(last_seen_at=now()))\n",
        "",
        f"{TESTS}::test_s55_a_visit_puts_off_the_one_end_and_not_the_other",
    ),
    Mutant(
        "an attempt goes with its session",
        "migrations/versions/20261123_first_tables.py",
        "        sa.ForeignKeyConstraint(\n"
        '            ["user_session_id"],\n'
        '            ["user_sessions.id"],\n'
        '            name="fk_connect_attempts_user_session_id",\n'
        '            ondelete="CASCADE",\n'
        "        ),\n",
        "",
        f"{TESTS}::test_s55_what_a_dead_session_began_is_dead",
    ),
    Mutant(
        "a new secret key opens what the old one signed",
        CONFIG,
        '"SECRET_KEY_FALLBACKS": list(settings.secret_key_fallbacks),',
        '"SECRET_KEY_FALLBACKS": [],',
        f"{TESTS}::test_s58_a_new_secret_key_keeps_sessions_for_as_long_as_the_old_one_is_named",
    ),
    Mutant(
        "a form outlives a change of the secret key, as its session does",
        CONFIG,
        '"WTF_CSRF_SECRET_KEY": [*settings.secret_key_fallbacks, settings.secret_key],',
        "",
        f"{TESTS}::test_s58_a_new_secret_key_keeps_sessions_for_as_long_as_the_old_one_is_named",
    ),
    Mutant(
        "the new secret key signs forms",
        CONFIG,
        "[*settings.secret_key_fallbacks, settings.secret_key]",
        "[settings.secret_key, *settings.secret_key_fallbacks]",
        f"{TESTS}::test_s58_a_new_secret_key_keeps_sessions_for_as_long_as_the_old_one_is_named",
    ),
    Mutant(
        "the new secret key signs for known browsers",
        "app/accounts/device_cookies.py",
        '[*current_app.config["SECRET_KEY_FALLBACKS"], current_app.config["SECRET_KEY"]]',
        '[current_app.config["SECRET_KEY"], *current_app.config["SECRET_KEY_FALLBACKS"]]',
        f"{TESTS}::test_s58_a_new_secret_key_keeps_browsers_known_for_as_long_as_the_old_one_is_named",
    ),
    Mutant(
        "a session does not hang on headers",
        SESSIONS,
        "logins.session_protection = None",
        'logins.session_protection = "strong"',
        f"{TESTS}::test_s59_a_session_does_not_hang_on_headers_that_anybody_can_send",
    ),
]
