"""Secrets and keys: what keeps S-37 to S-43, and which test notices."""

from tests.support.mutants import Change, Mutant

CALLBACK_PAGES_TESTS = "tests/security/test_callback_pages.py"
KEYS_TESTS = "tests/security/test_keys.py"
SECRETS = "tests/security/test_secrets.py"
SETTINGS = "tests/settings/test_config.py"

TRACED = "tests/katana/test_tracing.py::test_each_request_to_katana_is_a_span_without_a_secret"

GUARDS = [
    Mutant(
        "a span has the path without the query",
        "app/katana",
        "template = path_template(parts.path)",
        'template = f"{parts.path}?{parts.query}"',
        TRACED,
    ),
    Mutant(
        "a span has no text of an error",
        "app/katana",
        "record_exception=False",
        "record_exception=True",
        TRACED,
    ),
    Mutant(
        "a path is told without ids",
        "app/katana",
        'part if WORD.fullmatch(part) else "{id}"',
        "part",
        "tests/katana/test_tracing.py::test_a_path_is_told_without_what_it_identifies",
    ),
    Mutant(
        "gunicorn writes no query",
        "gunicorn.conf.py",
        "self.error_log.addFilter(logs.without_query)",
        "",
        f"{SECRETS}::test_s37_gunicorn_writes_no_query",
    ),
    Mutant(
        "a token is sealed",
        "app/connections",
        "self._ciphers[kid].encrypt(nonce, text.encode(), _encode(kid, aad))",
        "text.encode()",
        f"{SECRETS}::test_s37_s38_s40_no_secret_is_written_down",
        also=(
            Change(
                "app/connections",
                "self._ciphers[kid].decrypt(nonce, ciphertext, _encode(kid, aad))",
                "ciphertext",
            ),
        ),
    ),
    Mutant(
        "a token is sealed to its user",
        "app/connections",
        "[FORMAT, kid, aad.table, aad.column, aad.row, aad.user]",
        "[FORMAT, kid, aad.table, aad.column]",
        f"{KEYS_TESTS}::test_s41_a_token_opens_in_its_own_place_alone",
    ),
    Mutant(
        "a token is sealed to its column",
        "app/connections",
        "[FORMAT, kid, aad.table, aad.column, aad.row, aad.user]",
        "[FORMAT, kid, aad.table, aad.row, aad.user]",
        f"{KEYS_TESTS}::test_s41_a_token_opens_in_its_own_place_alone",
    ),
    Mutant(
        "a value that has moved is not overwritten",
        "app/connections/fleet",
        "literal_column(old.aad.column) == old.sealed",
        "True",
        "tests/connections/test_keys.py::test_a_refresh_in_between_wins",
    ),
    Mutant(
        "a secret serves one purpose",
        "app/settings",
        '"SECRET_KEY": ("KATANA_CLIENT_SECRET", "TOKEN_ENCRYPTION_KEYS")',
        "",
        f"{KEYS_TESTS}::test_s43_s74_wrong_settings_serve_nobody",
    ),
    Mutant(
        "what developers use is not for users",
        "app/settings",
        'if known.get("KATANA_REDIRECT_URI", "").lower().startswith("https:"):',
        "if False:",
        f"{KEYS_TESTS}::test_s43_s74_wrong_settings_serve_nobody",
    ),
    Mutant(
        "an error leads back to no value",
        "app/settings",
        "faults += cls._sentences(error)",
        "raise ConfigurationError(tuple(cls._sentences(error))) from error",
        f"{SETTINGS}::test_no_error_leads_back_to_a_value",
    ),
    Mutant(
        "settings do not change",
        "app/settings::Settings",
        "frozen=True",
        "",
        f"{SETTINGS}::test_settings_do_not_change",
    ),
    Mutant(
        "settings do not show a secret",
        "app/settings",
        "def __repr_args__(self) -> tuple[()]:",
        "def repr_args(self) -> tuple[()]:",
        f"{SECRETS}::test_s39_what_holds_a_secret_does_not_show_it",
    ),
    Mutant(
        "given settings are all",
        "app/settings",
        "return Settings.model_validate(environ)",
        'return FromEnvironment(root / ".env", environ)',
        f"{SETTINGS}::test_given_settings_stand_alone",
    ),
    Mutant(
        "wrong keys serve nobody",
        "app/connections",
        "_try_keys(current())",
        "",
        f"{KEYS_TESTS}::test_s42_a_wrong_key_serves_nobody_and_touches_no_row",
    ),
    Mutant(
        "a damaged row is no wrong key",
        "app/connections",
        "damaged = DAMAGED if opened else 0",
        "damaged = 0",
        f"{KEYS_TESTS}::test_s42_a_damaged_row_keeps_nobody_from_being_served",
    ),
    Mutant(
        "the oldest tokens are tried too",
        "app/connections/fleet",
        "(refreshed_at.desc(), refreshed_at)",
        "(refreshed_at.desc(),)",
        f"{KEYS_TESTS}::test_s42_a_key_that_was_taken_away_too_early_is_asked_for",
    ),
    Mutant(
        "a grant that cannot be stored is not written elsewhere",
        "app/pages",
        "return parts.lifecycle.connect(current_user.id, grant, answer.state)",
        "try:\n"
        "    return parts.lifecycle.connect(current_user.id, grant, answer.state)\n"
        "except Exception:\n"
        '    logger.exception("not stored: %s", grant.refresh_token)\n'
        "    raise",
        f"{SECRETS}::test_s39_each_statement_failing_in_turn_tells_nothing",
    ),
    Mutant(
        "a grant does not show itself",
        "app/katana",
        "refresh_token: str | None = field(repr=False)",
        "refresh_token: str | None",
        f"{SECRETS}::test_s39_what_holds_a_secret_does_not_show_it",
    ),
    Mutant(
        "a holder stays one",
        "app/connections",
        "STORE_ATTEMPTS = 5",
        "from dataclasses import asdict\n\nSTORE_ATTEMPTS = 5",
        f"{SECRETS}::test_s39_nothing_turns_a_holder_inside_out",
    ),
    Mutant(
        "a database that is away says nothing against a key",
        "app/connections",
        "except SQLAlchemyError as error:",
        "except ZeroDivisionError as error:",
        f"{KEYS_TESTS}::test_s42_without_a_database_the_keys_are_not_judged",
    ),
    Mutant(
        "every key of the ring opens",
        "app/connections",
        "{key.kid: AESGCM(key.key) for key in keys}",
        "{key.kid: AESGCM(key.key) for key in keys[:1]}",
        f"{KEYS_TESTS}::test_s42_keys_are_changed_beside_live_traffic",
    ),
    Mutant(
        "the sweep finds what a test did not look for",
        "app/pages",
        "if grant.scope not in {None, SCOPE}:",
        'logger.debug("granted %s", grant.access_token)\nif grant.scope not in {None, SCOPE}:',
        f"{CALLBACK_PAGES_TESTS}::test_s19_the_callback_shows_nothing_and_leaves_a_clean_address",
        by_sweep=True,
    ),
]
