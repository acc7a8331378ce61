"""Sessions and tenants: what keeps S-44 to S-59, and which test notices."""

from tests.mutants import Mutant

SESSIONS = "tests/test_security_sessions.py"
TENANTS = "tests/test_security_tenants.py"
CONNECT = "app/web/connect.py"
SECURITY = "app/web/security.py"

GUARDS = [
    Mutant(
        "a connection is looked up by its user",
        "app/connections/lifecycle.py",
        "select(Connection).where(Connection.user_id == user_id))",
        "select(Connection))",
        f"{TENANTS}::test_s46_one_katana_account_at_two_users_is_two_grants",
    ),
    Mutant(
        "the page warns of another account",
        CONNECT,
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
]
