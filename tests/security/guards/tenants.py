"""Whose connection it is: what keeps S-44 to S-49, and which tests notice."""

from tests.support.mutants import Mutant

TESTS = "tests/security/test_tenants.py"
DASHBOARD = "app/pages/dashboard.py"
LEAVING = "tests/accounts/test_personal_data.py"
TABLES = "migrations/versions/20261123_first_tables.py"

GUARDS = [
    Mutant(
        "no page takes an id of ours",
        DASHBOARD,
        '@bp.get("/dashboard")\ndef dashboard() -> Response:',
        '@bp.get("/dashboard")\n'
        '@bp.get("/dashboard/<int:user_id>")\n'
        "def dashboard(user_id: int | None = None) -> Response:",
        f"{TESTS}::test_s44_no_page_takes_an_id_of_ours",
    ),
    Mutant(
        "who disconnects is said by the session",
        "app/pages::disconnect",
        "current_user.id",
        'request.form.get("user_id", current_user.id, int)',
        f"{TESTS}::test_s44_what_anybody_sends_anywhere_reaches_their_own_connection_only",
    ),
    Mutant(
        "whose dashboard it is is said by the session",
        DASHBOARD,
        "user_id = current_user.id",
        'from flask import request\n\nuser_id = request.args.get("user_id", current_user.id, int)',
        f"{TESTS}::test_s44_what_anybody_sends_anywhere_reaches_their_own_connection_only",
    ),
    Mutant(
        "the page says to whom Katana was connected",
        "templates/dashboard.html",
        "    <div><dt>Your account here</dt><dd>{{ current_user.email }}</dd></div>\n",
        "",
        f"{TESTS}::test_s45_the_page_says_what_was_connected_to_whom_and_how_to_undo_it",
    ),
    Mutant(
        "the page says what was connected",
        "app/pages",
        'return f"Connected to {name}."',
        'return "Connected to Katana."',
        f"{TESTS}::test_s45_the_page_says_what_was_connected_to_whom_and_how_to_undo_it",
    ),
    Mutant(
        "a connection is looked up by its user",
        "app/connections",
        "select(Connection).where(Connection.user_id == user_id)",
        "select(Connection)",
        f"{TESTS}::test_s46_one_katana_account_at_two_users_is_two_grants",
    ),
    Mutant(
        "of many connects at once each is stored in the end",
        "app/connections",
        "STORE_ATTEMPTS = 5",
        "STORE_ATTEMPTS = 1",
        f"{TESTS}::test_s46_of_many_callbacks_at_once_one_connection_comes",
    ),
    Mutant(
        "a user has one connection",
        TABLES,
        'sa.UniqueConstraint("user_id", name="uq_connections_user_id")',
        "",
        f"{TESTS}::test_s46_of_many_callbacks_at_once_one_connection_comes",
    ),
    Mutant(
        "the page warns of another account",
        "app/pages",
        "if before and before != name:",
        "if False:",
        f"{TESTS}::test_s47_another_account_is_warned_of_before_and_told_after",
    ),
    Mutant(
        "disconnecting does not depend on Katana",
        "app/connections",
        "except (KatanaSaturated, LoginError, SealBroken):",
        "except SealBroken:",
        f"{TESTS}::test_s48_disconnecting_deletes_whatever_katana_says",
    ),
    Mutant(
        "a grant that comes too late is taken back",
        "app/connections::Saving._discard",
        "self._login.withdraw(grant)",
        "pass",
        f"{TESTS}::test_s48_a_refresh_under_way_revives_nothing",
    ),
    Mutant(
        "the form to disconnect has its token",
        "app/pages",
        '@bp.post("/disconnect")',
        '@bp.post("/disconnect")\n@csrf.exempt',
        f"{TESTS}::test_s48_only_our_own_button_disconnects",
    ),
    Mutant(
        "what is disconnected is deleted, so that nothing revives it",
        "app/connections",
        "deletion = delete(Connection).where(this_one).returning(Connection.id)",
        'over = {"status": "reconnect_needed", "reason": "grant_ended"}\n'
        "forget = update(Connection).where(this_one).values(over).returning(Connection.id)",
        f"{TESTS}::test_s48_a_refresh_under_way_revives_nothing",
    ),
    Mutant(
        "a grant for nobody is withdrawn",
        "app/connections::Lifecycle._store_with_retry",
        "self._login.withdraw(grant)",
        "pass",
        f"{TESTS}::test_s49_an_account_that_goes_during_the_exchange_gets_no_connection",
    ),
    Mutant(
        "a grant beside a living one is not withdrawn",
        "app/connections::Lifecycle._store_with_retry",
        "if not connected:",
        "if True:",
        "tests/connections/test_lifecycle.py::test_a_grant_that_is_overtaken_for_ever_is_not_withdrawn",
    ),
    Mutant(
        "a grant for nobody is no bug",
        "app/connections",
        "except (IntegrityError, NotConnected):",
        "except NotConnected:",
        f"{TESTS}::test_s49_an_account_that_goes_during_the_exchange_gets_no_connection",
    ),
    Mutant(
        "a connection goes with its account",
        TABLES,
        'sa.ForeignKeyConstraint(["user_id"], ["users.id"], '
        'name="fk_connections_user_id", ondelete="CASCADE")',
        'sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_connections_user_id")',
        f"{TESTS}::test_s49_with_an_account_goes_all_that_hangs_on_it",
    ),
    Mutant(
        "a grant that comes while an account is deleted is revoked",
        "app/connections",
        "find(user_id) is None",
        "True",
        f"{LEAVING}::test_a_grant_that_comes_in_between_is_revoked_too",
    ),
    Mutant(
        "a staged response goes with its user",
        "app/connections::Lifecycle._remove_staged",
        "remove(response.path)",
        "pass",
        f"{LEAVING}::test_a_response_that_waits_in_a_file_goes_too",
    ),
    Mutant(
        "deleting an account takes its password",
        "app/pages",
        'not _is_password_of(user_id, form.password.data or "")',
        'False and (not _is_password_of(user_id, form.password.data or ""))',
        f"{LEAVING}::test_a_wrong_password_deletes_nothing",
    ),
    Mutant(
        "the password is not guessed where somebody is signed in",
        "app/pages",
        "@throttle.deletions",
        "",
        f"{LEAVING}::test_a_wrong_password_deletes_nothing",
    ),
    Mutant(
        "downloads are limited",
        "app/pages",
        "@throttle.downloads",
        "",
        f"{LEAVING}::test_only_ones_own_button_downloads",
    ),
    Mutant(
        "the file has the rows of one user",
        "app/accounts",
        "return USERS.c.id == user_id",
        "return USERS.c.id > 0",
        f"{LEAVING}::test_the_file_has_every_row_of_the_user_and_of_nobody_else",
    ),
    Mutant(
        "the file has no sealed value",
        "app/accounts",
        "not sealed",
        "",
        f"{LEAVING}::test_no_key_to_anything_is_in_the_file",
    ),
    Mutant(
        "the file is made of batches",
        "app/accounts",
        "select(*key, *shown).where(_are_of(engine, table, user_id)).order_by(*key).limit(BATCH)",
        "select(*key, *shown).where(_are_of(engine, table, user_id)).order_by(*key)",
        f"{LEAVING}::test_the_rows_of_an_account_are_never_in_memory_together",
    ),
    Mutant(
        "the counters of a user go with the account",
        "app/accounts",
        "db.session.execute(delete(RateLimit).where(its))",
        "pass",
        f"{LEAVING}::test_with_the_account_goes_every_row",
    ),
    Mutant(
        "no number of a user is given twice",
        "migrations/versions/20261127_user_ids.py",
        "_rebuild_on_sqlite(autoincrement=True)",
        "_rebuild_on_sqlite(autoincrement=False)",
        f"{LEAVING}::test_no_number_of_a_user_is_given_twice",
    ),
    Mutant(
        "the browser forgets the account",
        "app/accounts",
        "if account in _names():",
        "if False:",
        f"{LEAVING}::test_with_the_account_goes_every_row",
    ),
    Mutant(
        "who signs in while the account goes is a stranger",
        "app/accounts::begin",
        "except IntegrityError:",
        "except ZeroDivisionError:",
        f"{LEAVING}::test_who_signs_in_while_the_account_goes_is_a_stranger",
    ),
]
