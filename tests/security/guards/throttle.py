"""Guessing passwords: what keeps S-62, and which tests notice."""

from tests.support.mutants import Mutant

TESTS = "tests/security/test_throttle.py"
THROTTLE = "app/accounts/throttle.py"
COUNTERS = "app/accounts/rate_limit_storage.py"

GUARDS = [
    Mutant(
        "one account has ten tries at an address",
        THROTTLE,
        "    return here(anywhere(address(view)))",
        "    return anywhere(address(view))",
        f"{TESTS}::test_s62_both_workers_count_together_and_say_how_long_to_wait",
    ),
    Mutant(
        "a crowd of addresses is throttled",
        THROTTLE,
        "    return here(anywhere(address(view)))",
        "    return here(address(view))",
        f"{TESTS}::test_s62_a_crowd_does_not_lock_the_owner_out",
    ),
    Mutant(
        "a crowd does not lock the owner out",
        THROTTLE,
        ", exempt_when=_is_known",
        "",
        f"{TESTS}::test_s62_a_crowd_does_not_lock_the_owner_out",
    ),
    Mutant(
        "a neighbour does not lock the owner out",
        THROTTLE,
        "{device_cookies.name_for(_account()) or _address()}",
        "{_address()}",
        f"{TESTS}::test_s62_who_guesses_does_not_lock_the_owner_out",
    ),
    Mutant(
        "a browser is known to its own account",
        "app/accounts/device_cookies.py",
        "_names().get(account, (None, 0))",
        "next(iter(_names().values()), (None, 0))",
        f"{TESTS}::test_s62_a_known_browser_is_known_to_its_own_account",
    ),
    Mutant(
        "a browser is known for thirty days",
        "app/accounts/device_cookies.py",
        "return name if time.time() < since + SECONDS else None",
        "return name",
        f"{TESTS}::test_s62_a_browser_is_not_known_for_ever",
    ),
    Mutant(
        "a browser is known to all who use it",
        "app/accounts/device_cookies.py",
        "dict(list(names.items())[:ACCOUNTS])",
        "dict(list(names.items())[:1])",
        f"{TESTS}::test_s62_one_browser_of_several_people_is_known_to_each",
    ),
    Mutant(
        "a browser that many use keeps a small cookie",
        "app/accounts/device_cookies.py",
        "dict(list(names.items())[:ACCOUNTS])",
        "names",
        f"{TESTS}::test_s62_a_browser_is_not_known_to_ever_more",
    ),
    Mutant(
        "what makes a browser known goes over https alone",
        "app/accounts/device_cookies.py",
        '        secure=current_app.config["SESSION_COOKIE_SECURE"],\n',
        "",
        "tests/accounts/test_accounts.py::test_what_makes_a_browser_known_goes_over_https_alone",
    ),
    Mutant(
        "a patient crowd is throttled",
        THROTTLE,
        "30 per 5 minutes; 100 per hour",
        "30 per 5 minutes",
        f"{TESTS}::test_s62_a_patient_crowd_has_a_hundred_tries_an_hour",
    ),
    Mutant(
        "sign-ups are throttled",
        THROTTLE,
        "    return limiter.limit(SIGN_UPS, key_func=_address)(refused(view))",
        "    return refused(view)",
        f"{TESTS}::test_s62_nobody_fills_the_table_of_accounts",
    ),
    Mutant(
        "connects are throttled",
        THROTTLE,
        "    return limiter.limit(CONNECTS, key_func=_visitor)(view)",
        "    return view",
        f"{TESTS}::test_s62_nobody_fills_the_table_of_attempts",
    ),
    Mutant(
        "one address cannot go through all accounts",
        THROTTLE,
        "    return here(anywhere(address(view)))",
        "    return here(anywhere(view))",
        f"{TESTS}::test_s62_one_address_cannot_go_through_all_accounts",
    ),
    Mutant(
        "a network of IPv6 is one address",
        "app/accounts/visitor_address.py",
        "    return str(ip_network((address, 64), strict=False))",
        "    return str(address)",
        f"{TESTS}::test_s62_one_household_is_one_address",
    ),
    Mutant(
        "addresses are not asked for at the sign-up",
        THROTTLE,
        "(refused(view))",
        "(view)",
        f"{TESTS}::test_s62_nobody_asks_for_all_addresses_at_the_sign_up",
    ),
    Mutant(
        "a burst is no longer than the threads that take it",
        "gunicorn.conf.py",
        '"GUNICORN_THREADS", "8"',
        '"GUNICORN_THREADS", "64"',
        f"{TESTS}::test_s62_a_burst_gets_no_further",
    ),
    Mutant(
        "an address is the same however it is written",
        THROTTLE,
        'normal_email(request.form.get("email"))',
        'request.form.get("email", "")',
        f"{TESTS}::test_s62_another_way_to_write_an_address_is_no_other_account",
    ),
    Mutant(
        "a token is asked for before a try is counted",
        "app/accounts/views.py",
        '@bp.post("/sign-in")\n'
        "@throttle.sign_ins\n"
        "def sign_in_submit() -> tuple[str, int] | Response:\n"
        '    """Sign in, ',
        "from app.pages.security import csrf\n\n\n"
        '@bp.post("/sign-in")\n'
        "@csrf.exempt\n"
        "@throttle.sign_ins\n"
        "def sign_in_submit() -> tuple[str, int] | Response:\n"
        "    csrf.protect()\n"
        '    """Sign in, ',
        f"{TESTS}::test_s62_a_forged_form_uses_up_no_tries",
    ),
    Mutant(
        "a window of a wrong clock is over",
        COUNTERS,
        "or_(RateLimit.expires_at <= self._now(), RateLimit.expires_at > far)",
        "RateLimit.expires_at <= self._now()",
        f"{TESTS}::test_s62_a_wrong_clock_locks_nobody_out",
    ),
    Mutant(
        "a limit ends",
        COUNTERS,
        "(RateLimit.key == key) & ~self._is_over()",
        "RateLimit.key == key",
        f"{TESTS}::test_s62_a_limit_ends_with_its_window",
    ),
    Mutant(
        "a new window counts from one",
        COUNTERS,
        "case((over, amount), else_=RateLimit.hits + amount)",
        "RateLimit.hits + amount",
        f"{TESTS}::test_s62_a_limit_ends_with_its_window",
    ),
]
