"""Accounts: what keeps S-08, S-60, S-61, S-63 and S-65, and which tests notice."""

from tests.support.mutants import Mutant

TESTS = "tests/security/test_accounts.py"
ACCOUNTS = "app/accounts/views.py"
PASSWORDS = "app/accounts/passwords.py"
FORMS = "app/accounts/forms.py"

GUARDS = [
    Mutant(
        "nothing of the session before is left",
        "app/accounts",
        "session.clear()",
        "",
        f"{TESTS}::test_s08_the_token_from_before_signing_in_is_worth_nothing_after",
    ),
    Mutant(
        "a form for strangers has its token too",
        ACCOUNTS,
        'bp = Blueprint("accounts", __name__)',
        'bp = Blueprint("accounts", __name__)\n'
        "from app.pages.security import csrf\n"
        "\n"
        "csrf.exempt(bp)",
        f"{TESTS}::test_s08_nobody_is_signed_in_by_another_sites_form",
    ),
    Mutant(
        "easily guessed passwords are refused",
        PASSWORDS,
        "if _is_easily_guessed(password):",
        "if False:",
        f"{TESTS}::test_s60_an_easily_guessed_password_is_refused",
    ),
    Mutant(
        "a password is not built on its account",
        PASSWORDS,
        "if len(_beyond_the_obvious(password, email)) < SHORTEST:",
        "if False:",
        f"{TESTS}::test_s60_an_easily_guessed_password_is_refused",
    ),
    Mutant(
        "nothing of a password is cut off",
        PASSWORDS,
        "Argon2id.verify_phc_encoded(password.encode(), stored)",
        "Argon2id.verify_phc_encoded(password.strip().encode(), stored)",
        f"{TESTS}::test_s60_a_good_password_is_taken_as_it_is",
    ),
    Mutant(
        "a browser is told where a new password goes",
        "templates/sign_up.html",
        '"new-password"',
        '"off"',
        f"{TESTS}::test_s60_a_password_may_be_pasted_and_is_known_to_browsers",
    ),
    Mutant(
        "a form cuts nothing off",
        "templates/parts.html",
        " required\n",
        ' required maxlength="64"\n',
        f"{TESTS}::test_s60_a_password_may_be_pasted_and_is_known_to_browsers",
    ),
    Mutant(
        "a form holds 64 KiB",
        "app/settings",
        "FORM_BYTES = 64 * 1024",
        "FORM_BYTES = 16 * 1024 * 1024",
        f"{TESTS}::test_s60_what_is_endless_is_refused_before_it_is_hashed",
    ),
    Mutant(
        "hashing is bounded",
        "app/accounts/passwords.py::hashed",
        "with _at_once:",
        "if True:",
        f"{TESTS}::test_s61_no_more_than_four_passwords_are_hashed_at_once",
    ),
    Mutant(
        "an unknown address costs a hash at signing in",
        ACCOUNTS,
        "not passwords.matches(password, user.password_hash if user else None) or user is None",
        "user is None or not passwords.matches(password, user.password_hash)",
        f"{TESTS}::test_s63_both_cost_the_same_time",
    ),
    Mutant(
        "of many sign-ups one is the account",
        ACCOUNTS,
        "except IntegrityError:",
        "except ZeroDivisionError:",
        f"{TESTS}::test_s63_of_many_sign_ups_at_once_one_is_the_account",
    ),
    Mutant(
        "signing in does not tell who has an account",
        ACCOUNTS,
        'form.refuse(form.password, "The e-mail address or the password is not right.")',
        "known = db.session.scalar(select(User.id).where(User.email == form.email.data))\n"
        'form.refuse(form.password, "Wrong password." if known else "Nobody has it.")',
        f"{TESTS}::test_s63_a_wrong_password_and_an_unknown_address_look_the_same",
    ),
    Mutant(
        "a sign-up signs nobody in to an account that is there",
        ACCOUNTS,
        "db.session.rollback()\nreturn None",
        "db.session.rollback()\n"
        "return db.session.scalar(select(User.id).where(User.email == email))",
        f"{TESTS}::test_s63_signing_up_with_a_taken_address_changes_nothing",
    ),
    Mutant(
        "a form that is sent twice signs in",
        ACCOUNTS,
        "if user_id is None and _is_pressed_again(email):",
        "if False:",
        f"{TESTS}::test_s63_pressing_twice_signs_in_either_way",
    ),
    Mutant(
        "a sign-up compares no password of an older account",
        ACCOUNTS,
        "found = db.session.scalar(select(User.id).where(User.email == email, new)) is not None",
        "found = db.session.scalar(select(User.id).where(User.email == email)) is not None",
        f"{TESTS}::test_s63_pressing_twice_signs_in_either_way",
    ),
    Mutant(
        "one mailbox is one account",
        FORMS,
        "filters=[normal_email]",
        "filters=[]",
        f"{TESTS}::test_s63_signing_up_with_a_taken_address_changes_nothing",
    ),
    Mutant(
        "an address holds no control character",
        FORMS,
        'r"[^@\\s\\x00-\\x1f\\x7f]+@[^@\\s.\\x00-\\x1f\\x7f]+(\\.[^@\\s.\\x00-\\x1f\\x7f]+)+"',
        'r"[^@\\s]+@[^@\\s]+\\.[^@\\s]+"',
        f"{TESTS}::test_s63_what_is_no_address_is_a_plain_no",
    ),
    Mutant(
        "what is no form needs a token too",
        "app/pages",
        "csrf.init_app(app)",
        'app.config["WTF_CSRF_CHECK_DEFAULT"] = False\n'
        "csrf.init_app(app)\n"
        "app.before_request(lambda: None if request.is_json else csrf.protect())",
        f"{TESTS}::test_s63_what_is_no_form_is_a_plain_no",
    ),
    Mutant(
        "no account comes with the app",
        "migrations/versions/20261123_first_tables.py",
        'op.create_index("ix_connection_events_history", "connection_events", ["user_id", "id"])',
        "op.execute(\"INSERT INTO users VALUES (1, 'b@c.example', '', CURRENT_TIMESTAMP)\")\n"
        'op.create_index("ix_connection_events_history", "connection_events", '
        '["user_id", "id"])',
        f"{TESTS}::test_s65_a_new_database_knows_nobody",
    ),
]
