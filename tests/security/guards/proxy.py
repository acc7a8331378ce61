"""Behind a proxy that speaks https: what keeps S-68, S-69 and S-73, and which tests notice."""

from tests.support.mutants import Mutant

TESTS = "tests/security/test_proxy.py"
THROTTLE_TESTS = "tests/security/test_throttle.py"
FACTORY = "app/__init__.py"

GUARDS = [
    Mutant(
        "an address may have a port",
        "app/accounts",
        'r"([0-9.]+)(?::[0-9]{1,5})?"',
        'r"([0-9.]+)"',
        f"{TESTS}::test_s73_an_address_may_have_a_port",
    ),
    Mutant(
        "by https a form shows its source",
        "app/pages",
        "raise CSRFError",
        "pass",
        f"{TESTS}::test_s68_a_form_works_from_its_own_page_only",
    ),
    Mutant(
        "a form says where it comes from",
        "app/pages",
        '"Referrer-Policy": "same-origin"',
        '"Referrer-Policy": "no-referrer"',
        f"{TESTS}::test_s68_a_form_works_from_its_own_page_only",
    ),
    Mutant(
        "https stays https",
        "app/pages",
        "if settings.https:",
        "if False:",
        f"{TESTS}::test_s69_https_is_asked_for_from_then_on",
    ),
    Mutant(
        "a proxy is believed the address and the scheme alone",
        FACTORY,
        "x_host=0, x_prefix=0",
        "x_host=hops, x_prefix=hops",
        f"{TESTS}::test_s73_a_proxy_is_believed_the_address_and_the_scheme_alone",
    ),
    Mutant(
        "of the addresses the one that our proxy adds counts",
        "app/accounts",
        'visitor_key(request.remote_addr or "")',
        'visitor_key(request.headers.get("X-Forwarded-For", "").partition(",")[0])',
        (
            f"{TESTS}::test_s73_the_last_address_counts_and_no_other",
            f"{THROTTLE_TESTS}::test_s62_what_a_guesser_claims_of_itself_changes_nothing",
        ),
    ),
    Mutant(
        "only so many proxies are believed as there are",
        FACTORY,
        "x_for=hops",
        "x_for=hops + 1",
        (
            f"{TESTS}::test_s73_the_last_address_counts_and_no_other",
            f"{THROTTLE_TESTS}::test_s62_what_a_guesser_claims_of_itself_changes_nothing",
        ),
    ),
    Mutant(
        "doctor sees that no address arrives",
        "app/operations/doctor",
        "arrived and address_in(arrived.address) is None",
        "False",
        "tests/operations/doctor/test_addresses.py::test_what_proxies_let_through_is_tried",
    ),
    Mutant(
        "a pooler that refuses this app's sessions is named",
        "app/database",
        "if _REFUSED in str(error):",
        "if False:",
        "tests/database/test_poolers.py::test_a_pooler_without_its_setting_is_named",
    ),
    Mutant(
        "a finished page is sent though its transaction cannot be rolled back",
        "app/database::init_app",
        "app.teardown_appcontext(_close)",
        "pass",
        "tests/database/test_away.py::test_it_ends_between_a_page_and_the_end_of_its_transaction",
    ),
]
