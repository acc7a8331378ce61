"""The guards that the security tests stand for, each with what takes it out and which tests notice.

One file for each area. `tests/test_security_mutants.py` goes through them.
"""

from tests.guards import accounts, callback, flow, katana, secrets, sessions, web

GUARDS = [
    *flow.GUARDS,
    *callback.GUARDS,
    *katana.GUARDS,
    *secrets.GUARDS,
    *accounts.GUARDS,
    *sessions.GUARDS,
    *web.GUARDS,
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
    # accounts
    "accounts.py::test_s08_nobody_is_signed_in_by_another_sites_form",
    "accounts.py::test_s60_a_password_may_be_pasted_and_is_known_to_browsers",
    "accounts.py::test_s60_what_is_endless_is_refused_before_it_is_hashed",
    "accounts.py::test_s63_a_wrong_password_and_an_unknown_address_look_the_same",
    "accounts.py::test_s63_signing_up_with_a_taken_address_changes_nothing",
    "accounts.py::test_s63_what_is_no_address_is_a_plain_no",
    "accounts.py::test_s63_what_is_no_form_is_a_plain_no",
    "accounts.py::test_s65_a_new_database_knows_nobody",
    # throttle
    "throttle.py::test_s62_what_a_guesser_claims_of_itself_changes_nothing",
    "throttle.py::test_s62_a_burst_gets_no_further",
    "throttle.py::test_s62_another_way_to_write_an_address_is_no_other_account",
    "throttle.py::test_s62_a_forged_form_uses_up_no_tries",
    "throttle.py::test_s62_a_limit_ends_with_its_window",
    # sessions
    "sessions.py::test_s50_a_made_up_cookie_is_nobodys",
    "sessions.py::test_s51_signing_in_is_a_new_session_for_whoever_planted_the_old",
    "sessions.py::test_s52_no_session_is_taken_from_an_address",
    "sessions.py::test_s53_s56_every_cookie_is_kept_from_scripts_and_never_remembered",
    "sessions.py::test_s54_nobody_is_signed_out_by_a_link_or_a_forged_form",
    "sessions.py::test_s54_signing_out_in_one_browser_leaves_the_other",
    "sessions.py::test_s55_what_a_dead_session_began_is_dead",
    "sessions.py::test_s58_a_new_secret_key_keeps_sessions_for_as_long_as_the_old_one_is_named",
    # tenants
    "tenants.py::test_s44_no_page_takes_an_id",
    "tenants.py::test_s44_what_anybody_sends_anywhere_reaches_their_own_connection_only",
    "tenants.py::test_s45_the_page_says_what_was_connected_to_whom_and_how_to_undo_it",
    "tenants.py::test_s46_of_many_callbacks_at_once_one_connection_comes",
    "tenants.py::test_s48_only_our_own_button_disconnects",
    "tenants.py::test_s48_a_refresh_under_way_revives_nothing",
    "tenants.py::test_s49_with_an_account_goes_all_that_hangs_on_it",
    # web
    "web.py::test_s81_what_fails_fails_closed",
    "web.py::test_s73_without_a_proxy_nobody_speaks_for_one",
    "web.py::test_s74_there_is_no_debugger",
    "web.py::test_s75_who_sends_slowly_keeps_nobody_else_waiting",
    "web.py::test_s77_nothing_but_the_pages_is_served",
    "web.py::test_s77_health_has_no_details",
    "web.py::test_s78_what_two_servers_could_read_differently_is_refused",
    "web.py::test_s79_quotes_are_text",
    "web.py::test_s71_no_other_site_can_frame_a_page",
    # proxy
    "proxy.py::test_s73_the_last_address_counts_and_no_other",
)
