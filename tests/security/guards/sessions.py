"""Browser sessions: what keeps S-50 to S-59, and which tests notice."""

from tests.support.mutants import Mutant

TESTS = "tests/security/test_sessions.py"

GUARDS = [
    Mutant(
        "the table opens no session",
        "app/accounts",
        "return hashlib.sha256(token.encode()).hexdigest()",
        "return token",
        f"{TESTS}::test_s50_the_table_opens_no_session",
    ),
    Mutant(
        "a cookie that nobody signed breaks nothing",
        "app/accounts",
        "except (KeyError, BadSignature):",
        "except KeyError:",
        f"{TESTS}::test_s50_a_made_up_cookie_is_nobodys",
    ),
    Mutant(
        "sessions that have run out are cleared away",
        "app/accounts",
        "db.session.execute(delete(UserSession).where(UserSession.id.in_(_expired())))",
        "",
        f"{TESTS}::test_s55_what_has_run_out_is_cleared_away",
    ),
    Mutant(
        "signing in is a new session",
        "app/accounts::begin",
        "end()",
        "",
        f"{TESTS}::test_s51_signing_in_again_ends_the_session_before",
    ),
    Mutant(
        "signing in takes no token from before",
        "app/accounts",
        "end()\ntoken = secrets.token_urlsafe(32)",
        'token = session.get("_user_id") or secrets.token_urlsafe(32)\nend()',
        f"{TESTS}::test_s51_signing_in_is_a_new_session_for_whoever_planted_the_old",
    ),
    Mutant(
        "a session is in the cookie alone",
        "app/accounts",
        "signing.loads(request.cookies[self.get_cookie_name(app)])",
        "signing.loads(request.cookies.get(self.get_cookie_name(app)) or "
        "request.args['katana_session'])",
        f"{TESTS}::test_s52_no_session_is_taken_from_an_address",
    ),
    Mutant(
        "of two session cookies neither is believed",
        "app/pages/security.py",
        "app.before_request(refuse_two_sessions)",
        "",
        f"{TESTS}::test_s53_of_two_session_cookies_neither_is_believed",
    ),
    Mutant(
        "scripts do not see the session",
        "app/settings",
        '"SESSION_COOKIE_HTTPONLY": True',
        '"SESSION_COOKIE_HTTPONLY": False',
        f"{TESTS}::test_s53_s56_every_cookie_is_kept_from_scripts_and_never_remembered",
    ),
    Mutant(
        "scripts do not see a known browser",
        "app/accounts",
        "httponly=True",
        "",
        f"{TESTS}::test_s53_s56_every_cookie_is_kept_from_scripts_and_never_remembered",
    ),
    Mutant(
        "a browser that is closed is signed out",
        "app/accounts",
        "login_user(user)",
        "login_user(user, remember=True)",
        f"{TESTS}::test_s53_s56_every_cookie_is_kept_from_scripts_and_never_remembered",
    ),
    Mutant(
        "signing out ends the session on the server",
        "app/accounts::end",
        "_hash_of(token)",
        "token",
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
        "app/accounts::end",
        "UserSession.token_hash == _hash_of(token)",
        "UserSession.user_id.in_("
        "select(UserSession.user_id).where(UserSession.token_hash == _hash_of(token)))",
        f"{TESTS}::test_s54_signing_out_in_one_browser_leaves_the_other",
    ),
    Mutant(
        "a session ends when nobody comes",
        "app/accounts",
        "UserSession.last_seen_at > now(-IDLE_SECONDS)",
        "",
        f"{TESTS}::test_s55_a_session_ends_by_itself",
    ),
    Mutant(
        "a session ends in any case",
        "app/accounts",
        "UserSession.expires_at > now()",
        "",
        f"{TESTS}::test_s55_a_session_ends_by_itself",
    ),
    Mutant(
        "a visit puts off one end",
        "app/accounts",
        "db.session.execute(seen.values(last_seen_at=now()))",
        "",
        f"{TESTS}::test_s55_a_visit_puts_off_the_one_end_and_not_the_other",
    ),
    Mutant(
        "an attempt goes with its session",
        "migrations/versions/20261123_first_tables.py",
        "sa.ForeignKeyConstraint(\n"
        '    ["user_session_id"],\n'
        '    ["user_sessions.id"],\n'
        '    name="fk_connect_attempts_user_session_id",\n'
        '    ondelete="CASCADE",\n'
        ")",
        "",
        f"{TESTS}::test_s55_what_a_dead_session_began_is_dead",
    ),
    Mutant(
        "a new secret key opens what the old one signed",
        "app/settings",
        '"SECRET_KEY_FALLBACKS": list(settings.secret_key_fallbacks)',
        '"SECRET_KEY_FALLBACKS": []',
        f"{TESTS}::test_s58_a_new_secret_key_keeps_sessions_for_as_long_as_the_old_one_is_named",
    ),
    Mutant(
        "a form outlives a change of the secret key, as its session does",
        "app/settings",
        '"WTF_CSRF_SECRET_KEY": [*settings.secret_key_fallbacks, settings.secret_key]',
        "",
        f"{TESTS}::test_s58_a_new_secret_key_keeps_sessions_for_as_long_as_the_old_one_is_named",
    ),
    Mutant(
        "the new secret key signs forms",
        "app/settings",
        "[*settings.secret_key_fallbacks, settings.secret_key]",
        "[settings.secret_key, *settings.secret_key_fallbacks]",
        f"{TESTS}::test_s58_a_new_secret_key_keeps_sessions_for_as_long_as_the_old_one_is_named",
    ),
    Mutant(
        "the new secret key signs for known browsers",
        "app/accounts",
        '[*current_app.config["SECRET_KEY_FALLBACKS"], current_app.config["SECRET_KEY"]]',
        '[current_app.config["SECRET_KEY"], *current_app.config["SECRET_KEY_FALLBACKS"]]',
        f"{TESTS}::test_s58_a_new_secret_key_keeps_browsers_known_for_as_long_as_the_old_one_is_named",
    ),
    Mutant(
        "a session does not hang on headers",
        "app/accounts",
        "logins.session_protection = None",
        'logins.session_protection = "strong"',
        f"{TESTS}::test_s59_a_session_does_not_hang_on_headers_that_anybody_can_send",
    ),
]
