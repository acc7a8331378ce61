"""Accounts and guessing at them: what keeps S-08 and S-60 to S-65, and which test notices."""

from tests.mutants import Mutant

ACCOUNTS = "tests/test_security_accounts.py"
GUESSING = "tests/test_security_throttle.py"

GUARDS = [
    Mutant(
        "nothing of the session before is left",
        "app/web/sessions.py",
        "    session.clear()  # last",
        "    # last",
        f"{ACCOUNTS}::test_s08_the_token_from_before_signing_in_is_worth_nothing_after",
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
