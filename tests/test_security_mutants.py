"""Do the security tests bite? Each guard is taken out of a copy, and a test must fail.

The list is the proof: what was changed, and which test notices. `make test-slow` goes through it.
"""

from pathlib import Path

import pytest

from tests.mutants import Mutant, assert_noticed

FLOW = "tests/test_security_flow.py"
CALLBACK = "tests/test_security_callback.py"
ISSUER = "tests/test_security_issuer.py"
ACCOUNTS, GUESSING = "tests/test_security_accounts.py", "tests/test_security_throttle.py"
SESSIONS, TENANTS = "tests/test_security_sessions.py", "tests/test_security_tenants.py"
WEB, PROXY = "tests/test_security_web.py", "tests/test_security_proxy.py"
KATANA, SECRETS = "tests/test_security_katana.py", "tests/test_security_secrets.py"
CONFIG, TRANSPORT, OAUTH = "app/config.py", "app/katana/transport.py", "app/katana/oauth.py"
ATTEMPTS, CONNECT = "app/connections/attempts.py", "app/web/connect.py"
ANSWER, SECURITY = "app/web/katana_answer.py", "app/web/security.py"

#: The way to Katana and back: S-01 to S-24.
OF_THE_FLOW = [
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
        "app/katana/oauth.py",
        'code_challenge_method="S256" if self.settings.pkce else None',
        "code_challenge_method=None",
        f"{FLOW}::test_s09_every_attempt_has_its_own_pkce_challenge",
    ),
    Mutant(
        "a repeat is told to its own user alone",
        "app/connections/lifecycle.py",
        "(Connection.user_id == user_id) & (Connection.connected_by == hash_of(state))",
        "Connection.connected_by == hash_of(state)",
        f"{CALLBACK}::test_s12_somebody_elses_finished_callback_is_refused",
    ),
    Mutant(
        "nothing is named twice",
        ANSWER,
        "if any(len(values) > 1 for values in given.values()):",
        "given = {name: values[:1] for name, values in given.items()}\n    if not given:",
        f"{CALLBACK}::test_s15_a_doubtful_answer_is_refused_before_anything_else",
    ),
    Mutant(
        "nothing is empty, endless or unprintable",
        ANSWER,
        "return 0 < len(value) <= CHARACTERS and value.isascii() and value.isprintable()",
        "return True",
        f"{CALLBACK}::test_s15_a_doubtful_answer_is_refused_before_anything_else",
    ),
    Mutant(
        "the state is judged before the error",
        CONNECT,
        "    try:\n        code_verifier",
        "    if answer.error:\n        return _not_approved(answer.error)\n\n"
        "    try:\n        code_verifier",
        f"{CALLBACK}::test_s16_an_error_with_a_foreign_state_says_nothing_of_it",
    ),
    Mutant(
        "a POST passes on what Katana sends, and no more",
        CONNECT,
        "for name in NAMES if name in request.form",
        "for name in request.form",
        f"{CALLBACK}::test_s18_a_post_becomes_a_get_and_does_nothing_else",
    ),
    Mutant(
        "a look uses nothing up",
        CONNECT,
        'if request.method == "HEAD":',
        'if request.method == "LOOK":',
        f"{CALLBACK}::test_s18_no_other_method_reaches_the_callback",
    ),
    Mutant(
        "a redirect says nothing in words",
        CONNECT,
        '        response.set_data(b"")\n',
        "        pass\n",
        f"{CALLBACK}::test_s19_the_callback_shows_nothing_and_leaves_a_clean_address",
    ),
    Mutant(
        "the callback's address goes no further",
        CONNECT,
        '    response.headers.setdefault("Referrer-Policy", "no-referrer")\n',
        "",
        f"{CALLBACK}::test_s20_s21_no_answer_is_kept_or_passes_its_address_on",
    ),
    Mutant(
        "no answer is kept",
        SECURITY,
        'response.headers["Cache-Control"] = "no-store"',
        "pass",
        f"{CALLBACK}::test_s20_s21_no_answer_is_kept_or_passes_its_address_on",
    ),
    Mutant(
        "junk meets a limit",
        "app/web/throttle.py",
        "return limiter.limit(JUNK_CALLBACKS, key_func=_visitor, deduct_when=_refused)(view)",
        "return view",
        f"{CALLBACK}::test_s22_a_flood_of_junk_costs_no_request_and_stops_nobody_else",
    ),
    Mutant(
        "another scope is logged",
        CONNECT,
        "if grant.scope not in {None, SCOPE}:",
        "if False:",
        f"{CALLBACK}::test_s24_another_scope_than_was_asked_for_is_logged",
    ),
    Mutant(
        "an answer is from the issuer",
        CONNECT,
        "if issuer and answer.iss != issuer:",
        "if issuer and not answer.iss:",
        f"{ISSUER}::test_o3_an_answer_of_another_issuer_ends_there",
    ),
    Mutant(
        "an answer names its issuer",
        CONNECT,
        "if issuer and answer.iss != issuer:",
        "if issuer and answer.iss not in {None, issuer}:",
        f"{ISSUER}::test_o3_an_answer_of_no_issuer_ends_there",
    ),
    Mutant(
        "a refusal is from the issuer",
        CONNECT,
        "if issuer and answer.iss != issuer:",
        "if issuer and answer.code and answer.iss != issuer:",
        f"{ISSUER}::test_s13_a_refusal_of_another_issuer_is_not_told_as_katanas",
    ),
]

#: Accounts, sessions, tenants: S-44 to S-65.
OF_ACCOUNTS = [
    Mutant(
        "a connection is looked up by its user",
        "app/connections/lifecycle.py",
        "select(Connection).where(Connection.user_id == user_id))",
        "select(Connection))",
        f"{TENANTS}::test_s46_one_katana_account_at_two_users_is_two_grants",
    ),
    Mutant(
        "the page warns of another account",
        "app/web/connect.py",
        "    if before and before != name:",
        "    if False:",
        f"{TENANTS}::test_s47_another_account_is_warned_of_before_and_told_after",
    ),
    Mutant(
        "disconnecting does not depend on Katana",
        "app/connections/lifecycle.py",
        "        except (LoginError, SealBroken):",
        "        except SealBroken:",
        f"{TENANTS}::test_s48_disconnecting_deletes_whatever_katana_says",
    ),
    Mutant(
        "a grant for nobody is no bug",
        "app/connections/lifecycle.py",
        "            except (IntegrityError, NotConnected):\n",
        "            except NotConnected:\n",
        f"{TENANTS}::test_s49_an_account_that_goes_during_the_exchange_gets_no_connection",
    ),
    Mutant(
        "the table opens no session",
        "app/web/sessions.py",
        "    return hashlib.sha256(token.encode()).hexdigest()",
        "    return token",
        f"{SESSIONS}::test_s50_the_table_opens_no_session",
    ),
    Mutant(
        "signing in is a new session",
        "app/web/sessions.py",
        "    end()\n    token = ",
        "    token = ",
        f"{SESSIONS}::test_s51_signing_in_again_ends_the_session_before",
    ),
    Mutant(
        "nothing of the session before is left",
        "app/web/sessions.py",
        "    session.clear()  # last",
        "    # last",
        f"{ACCOUNTS}::test_s08_the_token_from_before_signing_in_is_worth_nothing_after",
    ),
    Mutant(
        "of two session cookies neither is believed",
        SECURITY,
        "    app.before_request(refuse_two_sessions)\n",
        "",
        f"{SESSIONS}::test_s53_of_two_session_cookies_neither_is_believed",
    ),
    Mutant(
        "signing out ends the session on the server",
        "app/web/sessions.py",
        ".where(UserSession.token_hash == _hash_of(token)))",
        ".where(UserSession.token_hash == token))",
        f"{SESSIONS}::test_s54_a_cookie_copied_before_signing_out_is_dead",
    ),
    Mutant(
        "a session ends when nobody comes",
        "app/web/sessions.py",
        "            UserSession.last_seen_at > now(-IDLE_SECONDS),\n",
        "",
        f"{SESSIONS}::test_s55_a_session_ends_by_itself",
    ),
    Mutant(
        "a session ends in any case",
        "app/web/sessions.py",
        "            UserSession.expires_at > now(),\n",
        "",
        f"{SESSIONS}::test_s55_a_session_ends_by_itself",
    ),
    Mutant(
        "a visit puts off one end",
        "app/web/sessions.py",
        "        db.session.execute(seen.values(last_seen_at=now()))\n",
        "",
        f"{SESSIONS}::test_s55_a_visit_puts_off_the_one_end_and_not_the_other",
    ),
    Mutant(
        "a session does not hang on headers",
        "app/web/sessions.py",
        "logins.session_protection = None",
        'logins.session_protection = "strong"',
        f"{SESSIONS}::test_s59_a_session_does_not_hang_on_headers_that_anybody_can_send",
    ),
    Mutant(
        "easily guessed passwords are refused",
        "app/web/passwords.py",
        "    if _is_easily_guessed(password):",
        "    if False:",
        f"{ACCOUNTS}::test_s60_an_easily_guessed_password_is_refused",
    ),
    Mutant(
        "a password is not built on its account",
        "app/web/passwords.py",
        "    if len(_beyond_the_obvious(password, email)) < SHORTEST:",
        "    if False:",
        f"{ACCOUNTS}::test_s60_an_easily_guessed_password_is_refused",
    ),
    Mutant(
        "nothing of a password is cut off",
        "app/web/passwords.py",
        "            Argon2id.verify_phc_encoded(password.encode(), stored or _NOBODYS)",
        "            Argon2id.verify_phc_encoded(password.strip().encode(), stored or _NOBODYS)",
        f"{ACCOUNTS}::test_s60_a_good_password_is_taken_as_it_is",
    ),
    Mutant(
        "hashing is bounded",
        "app/web/passwords.py",
        "    with _at_once:\n        return",
        "    if True:\n        return",
        f"{ACCOUNTS}::test_s61_no_more_than_four_passwords_are_hashed_at_once",
    ),
    Mutant(
        "an unknown address costs a hash at signing in",
        "app/web/accounts.py",
        "not passwords.matches(password, user.password_hash if user else None) or user is None:",
        "user is None or not passwords.matches(password, user.password_hash):",
        f"{ACCOUNTS}::test_s63_both_cost_the_same_time",
    ),
    Mutant(
        "of many sign-ups one is the account",
        "app/web/accounts.py",
        "    except IntegrityError:",
        "    except ZeroDivisionError:",
        f"{ACCOUNTS}::test_s63_of_many_sign_ups_at_once_one_is_the_account",
    ),
    Mutant(
        "one account has ten tries at an address",
        "app/web/throttle.py",
        "    return here(anywhere(address(view)))",
        "    return anywhere(address(view))",
        f"{GUESSING}::test_s62_both_workers_count_together_and_say_how_long_to_wait",
    ),
    Mutant(
        "a crowd of addresses is throttled",
        "app/web/throttle.py",
        "    return here(anywhere(address(view)))",
        "    return here(address(view))",
        f"{GUESSING}::test_s62_a_crowd_does_not_lock_the_owner_out",
    ),
    Mutant(
        "a crowd does not lock the owner out",
        "app/web/throttle.py",
        ", exempt_when=_is_known",
        "",
        f"{GUESSING}::test_s62_a_crowd_does_not_lock_the_owner_out",
    ),
    Mutant(
        "a neighbour does not lock the owner out",
        "app/web/throttle.py",
        "{known_browsers.name_for(_account()) or _address()}",
        "{_address()}",
        f"{GUESSING}::test_s62_who_guesses_does_not_lock_the_owner_out",
    ),
    Mutant(
        "a browser is known to its own account",
        "app/web/known_browsers.py",
        "    return str(name) if known_to == account else None",
        "    return str(name)",
        f"{GUESSING}::test_s62_a_known_browser_is_known_to_its_own_account_and_not_for_ever",
    ),
    Mutant(
        "one address cannot go through all accounts",
        "app/web/throttle.py",
        "    return here(anywhere(address(view)))",
        "    return here(anywhere(view))",
        f"{GUESSING}::test_s62_one_address_cannot_go_through_all_accounts",
    ),
    Mutant(
        "a network of IPv6 is one address",
        "app/web/throttle.py",
        "    return str(ip_network((address, 64), strict=False))",
        "    return str(address)",
        f"{GUESSING}::test_s62_one_household_is_one_address",
    ),
    Mutant(
        "addresses are not asked for at the sign-up",
        "app/web/throttle.py",
        "(refused(view))",
        "(view)",
        f"{GUESSING}::test_s62_nobody_asks_for_all_addresses_at_the_sign_up",
    ),
]

#: Pages and the server below them: S-66 to S-82.
OF_THE_WEB = [
    Mutant(
        "a form has its token",
        SECURITY,
        "    csrf.init_app(app)\n",
        "",
        f"{WEB}::test_s66_a_form_is_taken_with_its_own_token_only",
    ),
    Mutant(
        "a form is of this site",
        SECURITY,
        "    app.before_request(refuse_other_sites)\n",
        "",
        f"{WEB}::test_s66_a_form_on_another_site_is_refused",
    ),
    Mutant(
        "a form is of this site in older browsers",
        SECURITY,
        'origin.partition("://")[2] == request.host',
        "True",
        f"{WEB}::test_s66_a_form_on_another_site_is_refused",
    ),
    Mutant(
        "an answer has its headers",
        SECURITY,
        "    app.after_request(_headers(settings))\n",
        "",
        f"{WEB}::test_s70_every_answer_is_guarded",
    ),
    Mutant(
        "a page reaches no other site",
        SECURITY,
        """        "default-src 'none'",\n""",
        "",
        f"{WEB}::test_s67_a_page_reaches_katana_and_no_other_site",
    ),
    Mutant(
        "a form reaches Katana",
        SECURITY,
        "form-action 'self' {_origin(settings.katana.authorize_url)}",
        "form-action 'self'",
        f"{WEB}::test_s67_a_page_reaches_katana_and_no_other_site",
    ),
    Mutant(
        "a host is one of ours",
        CONFIG,
        '        "TRUSTED_HOSTS": list(settings.trusted_hosts),\n',
        "",
        f"{WEB}::test_s72_another_host_is_not_answered",
    ),
    Mutant(
        "a proxy is one of ours",
        "app/__init__.py",
        "    if settings.proxy_hops:\n        hops = settings.proxy_hops",
        "    if True:\n        hops = settings.proxy_hops or 1",
        f"{WEB}::test_s73_an_address_that_is_made_up_evades_no_limit",
    ),
    Mutant(
        "a proxy is believed the address and the scheme alone",
        "app/__init__.py",
        "x_host=0, x_prefix=0",
        "x_host=hops, x_prefix=hops",
        f"{PROXY}::test_s73_a_proxy_is_believed_the_address_and_the_scheme_alone",
    ),
    Mutant(
        "https stays https",
        SECURITY,
        "    if settings.https:",
        "    if False:",
        f"{PROXY}::test_s69_https_is_asked_for_from_then_on",
    ),
    Mutant(
        "a form says where it comes from",
        SECURITY,
        '"Referrer-Policy": "same-origin"',
        '"Referrer-Policy": "no-referrer"',
        f"{PROXY}::test_s68_a_form_works_from_its_own_page_only",
    ),
    Mutant(
        "a body has its limit",
        CONFIG,
        '        "MAX_CONTENT_LENGTH": FORM_BYTES,\n',
        "",
        f"{WEB}::test_s75_a_large_body_is_refused_unread",
    ),
    Mutant(
        "headers have their limit",
        "gunicorn.conf.py",
        "limit_request_fields = 64",
        "limit_request_fields = 1000",
        f"{WEB}::test_s75_long_lines_and_many_headers_are_refused",
    ),
    Mutant(
        "a page takes no other method",
        CONFIG,
        '"PROVIDE_AUTOMATIC_OPTIONS": False',
        '"PROVIDE_AUTOMATIC_OPTIONS": True',
        f"{WEB}::test_s76_a_page_takes_the_methods_that_it_declares",
    ),
    Mutant(
        "a line of the log cannot be forged",
        "app/logs.py",
        "        record.message = _printable(record.message)\n",
        "",
        f"{WEB}::test_s80_what_matters_is_told_and_nothing_forges_a_line",
    ),
]

#: A hostile Katana: S-25 to S-36.
OF_KATANA = [
    Mutant(
        "a certificate is looked at",
        TRANSPORT,
        "    session.trust_env = False\n",
        "    session.trust_env = False\n    session.verify = False\n",
        f"{KATANA}::test_s25_whoever_cannot_show_who_they_are_gets_nothing",
    ),
    Mutant(
        "an answer comes until a deadline",
        TRANSPORT,
        "        left = self._deadline - time.monotonic()\n",
        "        left = 60.0\n",
        f"{KATANA}::test_s27_every_request_ends_and_others_are_served_meanwhile",
    ),
    Mutant(
        "a page ends",
        "app/web/live.py",
        "PAGE_SECONDS = 12.0",
        "PAGE_SECONDS = 90.0",
        f"{KATANA}::test_s27_every_request_ends_and_others_are_served_meanwhile",
    ),
    Mutant(
        "a body has its limit",
        TRANSPORT,
        "            if len(body) > self.body_bytes:\n",
        "            if False:\n",
        f"{KATANA}::test_s28_nonsense_is_one_error_and_takes_no_memory",
    ),
    Mutant(
        "no name stands twice",
        OAUTH,
        "    if len(names) < len(pairs):\n",
        "    if False:\n",
        f"{KATANA}::test_s28_nonsense_is_one_error_and_takes_no_memory",
    ),
    Mutant(
        "a record is read with care",
        "app/katana/client.py",
        "    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):\n",
        "    except KeyError:\n",
        f"{KATANA}::test_s28_nonsense_of_the_api_is_one_error",
    ),
    Mutant(
        "a number is one that can be written",
        "app/katana/records.py",
        " and abs(number.adjusted()) <= DIGITS",
        "",
        f"{KATANA}::test_s28_nonsense_of_the_api_is_one_error",
    ),
    Mutant(
        "a text is one that can be stored",
        "app/katana/records.py",
        'UNSTORABLE.sub(" ", value)',
        "value",
        f"{KATANA}::test_s28_nonsense_for_a_name_costs_nothing",
    ),
    Mutant(
        "a token is one",
        OAUTH,
        "        and 0 < len(value) <= TOKEN_CHARACTERS\n",
        "        and len(value) <= TOKEN_CHARACTERS\n",
        f"{KATANA}::test_s29_whatever_is_answered_what_is_stored_is_sound",
    ),
    Mutant(
        "a token is visible",
        OAUTH,
        """all("!" <= c <= "~" for c in value)""",
        "True",
        f"{KATANA}::test_s29_whatever_is_answered_what_is_stored_is_sound",
    ),
    Mutant(
        "a scope is printable",
        OAUTH,
        "scope[:500] if isinstance(scope, str) and _is_plain(scope) else None",
        "scope",
        f"{KATANA}::test_s29_whatever_is_answered_what_is_stored_is_sound",
    ),
    Mutant(
        "a type has no case",
        OAUTH,
        'token_type.lower() == "bearer"',
        'token_type == "Bearer"',
        f"{KATANA}::test_s30_a_bearer_token_is_one_in_any_case_and_no_other_is_taken",
    ),
    Mutant(
        "no other type is taken",
        OAUTH,
        'if not _is_bearer(answer.get("token_type")) or not',
        "if not",
        f"{KATANA}::test_s30_a_bearer_token_is_one_in_any_case_and_no_other_is_taken",
    ),
    Mutant(
        "a life is at least a second",
        OAUTH,
        "STATED_LIFE_SECONDS = range(1, ",
        "STATED_LIFE_SECONDS = range(0, ",
        f"{KATANA}::test_s31_a_life_that_is_not_stated_is_a_short_one",
    ),
    Mutant(
        "a first grant has a refresh token",
        OAUTH,
        "        if grant.refresh_token is None:\n",
        "        if False:\n",
        f"{KATANA}::test_s32_without_a_refresh_token_nothing_begins_and_nothing_ends",
    ),
    Mutant(
        "a word says more than a status",
        OAUTH,
        '    if word == "invalid_grant":\n',
        '    if word == "invalid_grant" and status == 400:\n',
        f"{KATANA}::test_s33_no_one_answer_ends_a_connection",
    ),
    Mutant(
        "an answer with another status is no grant",
        OAUTH,
        "if response.status_code == 200 and answer is not None",
        "if answer is not None",
        f"{KATANA}::test_s33_no_one_answer_ends_a_connection",
    ),
    Mutant(
        "a token stays in its header",
        "app/katana/client.py",
        "        if not (token.isascii() and token.isprintable()):\n",
        "        if False:\n",
        f"{KATANA}::test_s36_a_token_that_cannot_be_sent_is_not",
    ),
]

#: The keys: S-37 to S-43.
OF_SECRETS = [
    Mutant(
        "gunicorn writes no query",
        "gunicorn.conf.py",
        "        self.error_log.addFilter(logs.without_query)\n",
        "",
        f"{SECRETS}::test_s37_gunicorn_writes_no_query",
    ),
    Mutant(
        "a token is sealed",
        "app/connections/vault.py",
        "        return bytes((FORMAT, len(kid))) + kid.encode() + nonce + sealed",
        "        return bytes((FORMAT, len(kid))) + kid.encode() + nonce + sealed + text.encode()",
        f"{SECRETS}::test_s37_s38_s40_no_secret_is_written_down",
    ),
    Mutant(
        "a token is sealed to its user",
        "app/connections/vault.py",
        "[FORMAT, kid, place.table, place.column, place.row, place.user]",
        "[FORMAT, kid, place.table, place.column]",
        f"{SECRETS}::test_s41_a_token_opens_in_its_own_place_alone",
    ),
    Mutant(
        "a token is sealed to its column",
        "app/connections/vault.py",
        "[FORMAT, kid, place.table, place.column, place.row, place.user]",
        "[FORMAT, kid, place.table, place.row, place.user]",
        f"{SECRETS}::test_s41_a_token_opens_in_its_own_place_alone",
    ),
    Mutant(
        "a value that has moved is not overwritten",
        "app/connections/resealing.py",
        "column(old.place.column) == old.sealed)",
        "True)",
        "tests/test_keys.py::test_a_refresh_in_between_wins",
    ),
    Mutant(
        "a secret serves one purpose",
        CONFIG,
        '    reader.refuse_reuse("SECRET_KEY", "KATANA_CLIENT_SECRET", "TOKEN_ENCRYPTION_KEYS")\n',
        "",
        f"{SECRETS}::test_s43_s74_wrong_settings_serve_nobody",
    ),
    Mutant(
        "what developers use is not for users",
        CONFIG,
        "        reader.refuse_what_developers_use()\n",
        "        pass\n",
        f"{SECRETS}::test_s43_s74_wrong_settings_serve_nobody",
    ),
    Mutant(
        "wrong keys serve nobody",
        "wsgi.py",
        "        keyring.require(app)",
        "        pass",
        f"{SECRETS}::test_s42_a_wrong_key_serves_nobody_and_touches_no_row",
    ),
    Mutant(
        "a damaged row is no wrong key",
        "app/connections/keyring.py",
        "damaged = DAMAGED if opened else 0",
        "damaged = 0",
        f"{SECRETS}::test_s42_a_damaged_row_keeps_nobody_from_being_served",
    ),
    Mutant(
        "the oldest tokens are tried too",
        "app/connections/sealed.py",
        "for order in (renewed.desc(), renewed)",
        "for order in (renewed.desc(),)",
        f"{SECRETS}::test_s42_a_key_that_was_taken_away_too_early_is_asked_for",
    ),
]

MUTANTS = [*OF_THE_FLOW, *OF_KATANA, *OF_SECRETS, *OF_ACCOUNTS, *OF_THE_WEB]


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_every_guard_is_noticed_when_it_is_gone(mutant: Mutant, tmp_path: Path) -> None:
    """Without the guard, its tests fail."""
    assert_noticed(mutant, tmp_path / "tree")
