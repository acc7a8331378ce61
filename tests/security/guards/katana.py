"""A hostile Katana: what keeps S-25 to S-36, and which test notices."""

from tests.support.mutants import Change, Mutant

CLIENT_RECORDS_TESTS = "tests/katana/test_client_records.py"
LOGIN_ANSWERS_TESTS = "tests/katana/test_login_answers.py"
ANSWERS_TESTS = "tests/security/katana/test_answers.py"
REQUESTS_TESTS = "tests/security/katana/test_requests.py"
CALLBACK = "tests/security/test_callback.py"
SECRETS = "tests/security/test_secrets.py"

GUARDS = [
    Mutant(
        "a certificate is looked at",
        "app/katana",
        "session.trust_env = False",
        "session.trust_env = False\nsession.verify = False\ndisable_warnings()",
        f"{REQUESTS_TESTS}::test_s25_whoever_cannot_show_who_they_are_gets_nothing",
        also=(
            Change(
                "app/katana",
                "from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout",
                "from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout\n"
                "from urllib3 import disable_warnings",
            ),
        ),
    ),
    Mutant(
        "an answer comes until a deadline",
        "app/katana",
        "left = self._deadline - time.monotonic()",
        "left = 60.0",
        f"{REQUESTS_TESTS}::test_s27_every_request_ends_and_others_are_served_meanwhile",
    ),
    Mutant(
        "a page ends",
        "app/pages",
        "monotonic() + PAGE_SECONDS",
        "monotonic() + 10 * PAGE_SECONDS",
        "tests/pages/test_dashboard_trouble.py::test_a_page_asks_no_longer_than_its_time",
    ),
    Mutant(
        "a body has its limit",
        "app/katana",
        "if len(body) > self.body_bytes:",
        "if False:",
        f"{ANSWERS_TESTS}::test_s28_nonsense_is_one_error_and_takes_no_memory",
    ),
    Mutant(
        "bytes that are no text cost no token",
        "app/katana::_json_object",
        '"replace"',
        '"ignore"',
        f"{LOGIN_ANSWERS_TESTS}::test_nonsense_is_an_answer_lost",
    ),
    Mutant(
        "a control character costs no token",
        "app/katana",
        "strict=False",
        "strict=True",
        f"{LOGIN_ANSWERS_TESTS}::test_a_flaw_in_what_is_not_used_costs_no_token",
    ),
    Mutant(
        "a member with two values has none",
        "app/katana",
        "if not _is_same(members[name], value):",
        "if False:",
        f"{LOGIN_ANSWERS_TESTS}::test_two_access_tokens_are_none",
    ),
    Mutant(
        "a repeated member costs no token",
        "app/katana",
        "if not _is_same(members[name], value):",
        "if members[name] is not value:",
        f"{LOGIN_ANSWERS_TESTS}::test_a_flaw_in_what_is_not_used_costs_no_token",
    ),
    Mutant(
        "a long number costs no token",
        "app/katana",
        'return int(digits) if len(digits) < 20 else float("inf")',
        "return int(digits)",
        f"{LOGIN_ANSWERS_TESTS}::test_a_flaw_in_what_is_not_used_costs_no_token",
    ),
    Mutant(
        "a missing type costs no token",
        "app/katana",
        'if token_type in (None, ""):\n    return True',
        "",
        f"{LOGIN_ANSWERS_TESTS}::test_a_flaw_in_what_is_not_used_costs_no_token",
    ),
    Mutant(
        "what has arrived is read however late",
        "app/katana::_DeadlineReader.readinto",
        "return self._read_without_waiting(buffer)",
        'raise TimeoutError("deadline")',
        "tests/katana/test_transport.py::test_what_has_arrived_is_read_however_late",
    ),
    Mutant(
        "what is sent on and on after the deadline is not read for ever",
        "app/katana",
        "if self._late_bytes >= LATE_BYTES:",
        "if False:",
        "tests/katana/test_transport.py::test_late_reading_has_a_limit",
    ),
    Mutant(
        "a record is read with care",
        "app/katana",
        "except (KeyError, TypeError, ValueError, AttributeError, OverflowError):",
        "except KeyError:",
        f"{ANSWERS_TESTS}::test_s28_nonsense_of_the_api_is_one_error",
    ),
    Mutant(
        "a number is one that can be written",
        "app/katana",
        "abs(number.adjusted()) <= DIGITS",
        "",
        f"{ANSWERS_TESTS}::test_s28_nonsense_of_the_api_is_one_error",
    ),
    Mutant(
        "one odd record costs that record",
        "app/katana",
        "invalid += 1",
        "raise",
        f"{CLIENT_RECORDS_TESTS}::test_one_odd_record_costs_that_record",
    ),
    Mutant(
        "an id may be text",
        "app/katana::_id_or_none",
        "int | str",
        "int",
        f"{CLIENT_RECORDS_TESTS}::test_an_id_is_the_same_as_number_and_as_text",
    ),
    Mutant(
        "a name reorders no text",
        "app/katana",
        'BIDIRECTIONAL.sub("", value)',
        "value",
        f"{CLIENT_RECORDS_TESTS}::test_a_name_reorders_no_text_around_it",
    ),
    Mutant(
        "a text is one that can be stored",
        "app/katana",
        'UNSTORABLE.sub(" ", BIDIRECTIONAL.sub("", value))',
        "value",
        f"{ANSWERS_TESTS}::test_s28_nonsense_for_a_name_costs_nothing",
    ),
    Mutant(
        "a token is one",
        "app/katana",
        "0 < len(value) <= TOKEN_CHARACTERS",
        "len(value) <= TOKEN_CHARACTERS",
        f"{ANSWERS_TESTS}::test_s29_whatever_is_answered_what_is_stored_is_sound",
    ),
    Mutant(
        "a token is visible",
        "app/katana",
        'all("!" <= c <= "~" for c in value)',
        "True",
        f"{ANSWERS_TESTS}::test_s29_whatever_is_answered_what_is_stored_is_sound",
    ),
    Mutant(
        "a scope is printable",
        "app/katana",
        "scope[:500] if isinstance(scope, str) and _is_printable(scope) else None",
        "scope",
        f"{ANSWERS_TESTS}::test_s29_whatever_is_answered_what_is_stored_is_sound",
    ),
    Mutant(
        "a type has no case",
        "app/katana",
        'token_type.strip().lower() == "bearer"',
        'token_type == "Bearer"',
        f"{ANSWERS_TESTS}::test_s30_a_bearer_token_is_one_in_any_case_and_no_other_is_taken",
    ),
    Mutant(
        "no other type is taken",
        "app/katana",
        'not _is_bearer(body.get("token_type")) or not _is_token(access_token)',
        "not _is_token(access_token)",
        f"{ANSWERS_TESTS}::test_s30_a_bearer_token_is_one_in_any_case_and_no_other_is_taken",
    ),
    Mutant(
        "a life is at least a second",
        "app/katana",
        "range(1, 366 * 24 * 3600)",
        "range(0, 366 * 24 * 3600)",
        f"{ANSWERS_TESTS}::test_s31_a_life_that_is_not_stated_is_a_short_one",
    ),
    Mutant(
        "a first grant has a refresh token",
        "app/katana",
        "if grant.refresh_token is None:",
        "if False:",
        f"{ANSWERS_TESTS}::test_s32_without_a_refresh_token_nothing_begins_and_nothing_ends",
    ),
    Mutant(
        "a word says more than a status",
        "app/katana",
        'if code == "invalid_grant" or code in USER_ACTION_REQUIRED:',
        'if (code == "invalid_grant" or code in USER_ACTION_REQUIRED) and status == 400:',
        f"{ANSWERS_TESTS}::test_s33_no_one_answer_ends_a_connection",
    ),
    Mutant(
        "an answer with another status is no grant",
        "app/katana",
        "response.status_code in SUCCESS",
        "",
        f"{ANSWERS_TESTS}::test_s33_no_one_answer_ends_a_connection",
    ),
    Mutant(
        "a token stays in its header",
        "app/katana",
        "if not (token.isascii() and token.isprintable()):",
        "if False:",
        f"{REQUESTS_TESTS}::test_s36_a_token_that_cannot_be_sent_is_not",
    ),
    Mutant(
        "no redirect is followed",
        "app/katana",
        "session.get_redirect_target = _no_target",
        "",
        f"{REQUESTS_TESTS}::test_s26_no_redirect_is_followed_anywhere",
        also=(
            Change(
                "app/katana",
                "allow_redirects=False,\n**fields",
                "**fields",
            ),
        ),
    ),
    Mutant(
        "a secret stands in the body",
        "app/katana",
        'token_endpoint_auth_method="client_secret_post"',
        "",
        f"{REQUESTS_TESTS}::test_s34_secrets_travel_in_the_body_alone",
    ),
    Mutant(
        "a refresh names the way back too",
        "app/katana::KatanaLogin._request_grant",
        "redirect_uri=self.settings.redirect_uri",
        "",
        (
            f"{REQUESTS_TESTS}::test_s34_secrets_travel_in_the_body_alone",
            f"{CALLBACK}::test_s14_the_way_back_is_never_taken_from_a_request",
        ),
    ),
    Mutant(
        "a token stands in its header alone",
        "app/katana",
        "params=query",
        'params={**(query or {}), "access_token": token}',
        (
            f"{REQUESTS_TESTS}::test_s34_secrets_travel_in_the_body_alone",
            f"{SECRETS}::test_s37_no_library_tells_a_secret_either",
        ),
    ),
    Mutant(
        "the next page is where this app looks for it",
        "app/katana::KatanaApi.records",
        "records = _records(response)",
        'if "next" in response.links:\n'
        '    self._session.get(response.links["next"]["url"], timeout=RESPONSE_SECONDS)\n'
        "records = _records(response)",
        f"{REQUESTS_TESTS}::test_s35_nobody_leads_the_app_elsewhere",
    ),
]
