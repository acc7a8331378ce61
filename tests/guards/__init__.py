"""The guards that the security tests stand for, each with what takes it out and which tests notice.

One file for each area. `tests/test_security_mutants.py` goes through them.
"""

from tests.guards import (
    accounts,
    callback,
    flow,
    katana,
    proxy,
    secrets,
    sessions,
    tenants,
    throttle,
    web,
)

GUARDS = [
    *flow.GUARDS,
    *callback.GUARDS,
    *katana.GUARDS,
    *secrets.GUARDS,
    *accounts.GUARDS,
    *throttle.GUARDS,
    *sessions.GUARDS,
    *tenants.GUARDS,
    *web.GUARDS,
    *proxy.GUARDS,
]

#: The tests that no guard names yet.
STILL_TO_COME = (
    # flow
    "flow.py::test_s03_another_user_in_the_same_browser_cannot_finish_it",
    "flow.py::test_s03_an_address_at_katana_that_was_mailed_connects_nobody",
    "flow.py::test_s03_the_button_sends_nothing_that_names_a_user_or_an_attempt",
    "flow.py::test_s04_a_cookie_from_before_makes_no_state_good_again",
    "flow.py::test_s04_a_refused_code_uses_its_state_up",
    "flow.py::test_s06_forty_attempts_live_side_by_side_and_weigh_nothing",
    "flow.py::test_s09_a_verifier_that_does_not_fit_is_a_plain_failure",
    "flow.py::test_s10_a_browser_holds_neither_state_nor_verifier",
    "flow.py::test_s11_a_code_of_another_attempt_is_worth_nothing",
    # callback
    "callback.py::test_s12_a_callback_that_is_loaded_again_leads_to_the_dashboard",
    "callback.py::test_s14_the_way_back_is_never_taken_from_a_request",
    "callback.py::test_s16_an_error_is_told_in_our_words",
    "callback.py::test_s17_nothing_of_the_address_shows_up_anywhere",
    "callback.py::test_s19_no_page_loads_anything_from_elsewhere",
    "callback.py::test_s23_nobody_is_sent_elsewhere",
    # issuer
    "issuer.py::test_o1_the_happy_path",
    "issuer.py::test_o2_without_state_or_code_nothing_more_is_asked",
    "issuer.py::test_o2_with_another_state_nothing_more_is_asked",
    "issuer.py::test_o6_access_is_refused_until_it_was_renewed_twice",
    # katana
    "katana.py::test_s26_no_redirect_is_followed_anywhere",
    "katana.py::test_s34_secrets_travel_in_the_body_alone",
    "katana.py::test_s35_nobody_leads_the_app_elsewhere",
    # secrets
    "secrets.py::test_s37_no_library_tells_a_secret_either",
    "secrets.py::test_s39_each_statement_failing_in_turn_tells_nothing",
    "secrets.py::test_s39_what_holds_a_secret_does_not_show_it",
    "secrets.py::test_s39_nothing_turns_a_holder_inside_out",
    "secrets.py::test_s42_without_a_database_the_keys_are_not_judged",
    "secrets.py::test_s42_keys_are_changed_beside_live_traffic",
)
