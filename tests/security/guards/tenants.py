"""Whose connection it is: what keeps S-44 to S-49, and which tests notice."""

from tests.support.mutants import Mutant

TESTS = "tests/security/test_tenants.py"
DASHBOARD = "app/pages/dashboard.py"
CONNECT = "app/pages/connect.py"
LIFECYCLE = "app/connections/lifecycle.py"
LEAVING = "tests/accounts/test_personal_data.py"
PERSONAL_DATA = "app/accounts/personal_data.py"
ACCOUNT = "app/pages/account.py"
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
        CONNECT,
        "lifecycle.disconnect(current_user.id)",
        'lifecycle.disconnect(request.form.get("user_id", current_user.id, int))',
        f"{TESTS}::test_s44_what_anybody_sends_anywhere_reaches_their_own_connection_only",
    ),
    Mutant(
        "whose dashboard it is is said by the session",
        DASHBOARD,
        "    user_id = current_user.id\n",
        "    from flask import request\n"
        "\n"
        '    user_id = request.args.get("user_id", current_user.id, int)\n',
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
        CONNECT,
        '    return f"Connected to {name}."\n',
        '    return "Connected to Katana."\n',
        f"{TESTS}::test_s45_the_page_says_what_was_connected_to_whom_and_how_to_undo_it",
    ),
    Mutant(
        "a connection is looked up by its user",
        LIFECYCLE,
        "select(Connection).where(Connection.user_id == user_id))",
        "select(Connection))",
        f"{TESTS}::test_s46_one_katana_account_at_two_users_is_two_grants",
    ),
    Mutant(
        "of many connects at once each is stored in the end",
        LIFECYCLE,
        "STORE_ATTEMPTS = 5",
        "STORE_ATTEMPTS = 1",
        f"{TESTS}::test_s46_of_many_callbacks_at_once_one_connection_comes",
    ),
    Mutant(
        "a user has one connection",
        TABLES,
        '        sa.UniqueConstraint("user_id", name="uq_connections_user_id"),\n',
        "",
        f"{TESTS}::test_s46_of_many_callbacks_at_once_one_connection_comes",
    ),
    Mutant(
        "the page warns of another account",
        CONNECT,
        "    if before and before != name:",
        "    if False:",
        f"{TESTS}::test_s47_another_account_is_warned_of_before_and_told_after",
    ),
    Mutant(
        "disconnecting does not depend on Katana",
        LIFECYCLE,
        "        except (KatanaSaturated, LoginError, SealBroken):",
        "        except SealBroken:",
        f"{TESTS}::test_s48_disconnecting_deletes_whatever_katana_says",
    ),
    Mutant(
        "a grant that comes too late is taken back",
        "app/connections/saving.py",
        "        self._login.withdraw(grant)\n",
        "        pass\n",
        f"{TESTS}::test_s48_a_refresh_under_way_revives_nothing",
    ),
    Mutant(
        "the form to disconnect has its token",
        CONNECT,
        '@bp.post("/disconnect")\n',
        '@bp.post("/disconnect")\n@csrf.exempt\n',
        f"{TESTS}::test_s48_only_our_own_button_disconnects",
    ),
    Mutant(
        "what is disconnected is deleted, so that nothing revives it",
        LIFECYCLE,
        "deletion = delete(Connection).where(this_one).returning(Connection.id)",
        "over = {'status': 'reconnect_needed', 'reason': 'grant_ended'}\n"
        "        forget = update(Connection).where(this_one).values(over).returning(Connection.id)",
        f"{TESTS}::test_s48_a_refresh_under_way_revives_nothing",
    ),
    Mutant(
        "a grant for nobody is withdrawn",
        LIFECYCLE,
        "            self._login.withdraw(grant)\n",
        "            pass\n",
        f"{TESTS}::test_s49_an_account_that_goes_during_the_exchange_gets_no_connection",
    ),
    Mutant(
        "a grant beside a living one is not withdrawn",
        LIFECYCLE,
        "        if not connected:\n",
        "        if True:\n",
        "tests/connections/test_lifecycle.py::test_a_grant_that_is_overtaken_for_ever_is_not_withdrawn",
    ),
    Mutant(
        "a grant for nobody is no bug",
        LIFECYCLE,
        "            except (IntegrityError, NotConnected):\n",
        "            except NotConnected:\n",
        f"{TESTS}::test_s49_an_account_that_goes_during_the_exchange_gets_no_connection",
    ),
    Mutant(
        "a connection goes with its account",
        TABLES,
        '            ["user_id"], ["users.id"], name="fk_connections_user_id", ondelete="CASCADE"\n'
        "        ),\n"
        '        sa.PrimaryKeyConstraint("id", name="pk_connections"),',
        '            ["user_id"], ["users.id"], name="fk_connections_user_id"\n'
        "        ),\n"
        '        sa.PrimaryKeyConstraint("id", name="pk_connections"),',
        f"{TESTS}::test_s49_with_an_account_goes_all_that_hangs_on_it",
    ),
    Mutant(
        "a grant that comes while an account is deleted is revoked",
        LIFECYCLE,
        "            if find(user_id) is None:\n                erase",
        "            if True:\n                erase",
        f"{LEAVING}::test_a_grant_that_comes_in_between_is_revoked_too",
    ),
    Mutant(
        "a staged response goes with its user",
        LIFECYCLE,
        "                remove(response.path)\n",
        "                pass\n",
        f"{LEAVING}::test_a_response_that_waits_in_a_file_goes_too",
    ),
    Mutant(
        "deleting an account takes its password",
        ACCOUNT,
        "    if not _is_password_of(",
        "    if False and not _is_password_of(",
        f"{LEAVING}::test_a_wrong_password_deletes_nothing",
    ),
    Mutant(
        "the password is not guessed where somebody is signed in",
        ACCOUNT,
        "@throttle.deletions\n",
        "",
        f"{LEAVING}::test_a_wrong_password_deletes_nothing",
    ),
    Mutant(
        "downloads are limited",
        ACCOUNT,
        "@throttle.downloads\n",
        "",
        f"{LEAVING}::test_only_ones_own_button_downloads",
    ),
    Mutant(
        "the file has the rows of one user",
        PERSONAL_DATA,
        "        return USERS.c.id == user_id",
        "        return USERS.c.id > 0",
        f"{LEAVING}::test_the_file_has_every_row_of_the_user_and_of_nobody_else",
    ),
    Mutant(
        "the file has no sealed value",
        PERSONAL_DATA,
        "    return not sealed and not column",
        "    return not column",
        f"{LEAVING}::test_no_key_to_anything_is_in_the_file",
    ),
    Mutant(
        "the file is made of batches",
        PERSONAL_DATA,
        "order_by(*key).limit(BATCH)",
        "order_by(*key)",
        f"{LEAVING}::test_the_orders_of_an_account_are_never_in_memory_together",
    ),
    Mutant(
        "the counters of a user go with the account",
        PERSONAL_DATA,
        "        db.session.execute(delete(RateLimit).where(its))\n",
        "        pass\n",
        f"{LEAVING}::test_with_the_account_goes_every_row",
    ),
    Mutant(
        "no number of a user is given twice",
        "migrations/versions/20261127_user_ids.py",
        "    _rebuild_on_sqlite(autoincrement=True)",
        "    _rebuild_on_sqlite(autoincrement=False)",
        f"{LEAVING}::test_no_number_of_a_user_is_given_twice",
    ),
    Mutant(
        "the browser forgets the account",
        "app/accounts/device_cookies.py",
        "    if account in _names():",
        "    if False:",
        f"{LEAVING}::test_with_the_account_goes_every_row",
    ),
    Mutant(
        "who signs in while the account goes is a stranger",
        "app/accounts/sessions.py",
        "    except IntegrityError:",
        "    except ZeroDivisionError:",
        f"{LEAVING}::test_who_signs_in_while_the_account_goes_is_a_stranger",
    ),
]
