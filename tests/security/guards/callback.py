"""The way back from Katana: what keeps S-12 to S-24, and which test notices."""

from tests.support.mutants import Change, Mutant

CALLBACK_PAGES_TESTS = "tests/security/test_callback_pages.py"
CALLBACK = "tests/security/test_callback.py"
ISSUER = "tests/security/test_issuer.py"
OAUTH = "app/katana/oauth.py"

GUARDS = [
    Mutant(
        "a repeat is told to its own user alone",
        "app/connections",
        "(Connection.user_id == user_id) & (Connection.connected_by == hash_of(state))",
        "Connection.connected_by == hash_of(state)",
        f"{CALLBACK}::test_s12_somebody_elses_finished_callback_is_refused",
    ),
    Mutant(
        "nothing is named twice",
        "app/pages",
        "if any((len(values) > 1 for values in given.values())):",
        "given = {name: values[:1] for name, values in given.items()}\nif not given:",
        f"{CALLBACK}::test_s15_a_doubtful_answer_is_refused_before_anything_else",
    ),
    Mutant(
        "nothing is empty, endless or unprintable",
        "app/pages",
        "return 0 < len(value) <= CHARACTERS and value.isascii() and value.isprintable()",
        "return True",
        f"{CALLBACK}::test_s15_a_doubtful_answer_is_refused_before_anything_else",
    ),
    Mutant(
        "the state is judged before the error",
        "app/pages",
        "attempts = current().attempts",
        "if answer.error:\n    return _not_approved(answer.error)\n\nattempts = current().attempts",
        f"{CALLBACK}::test_s16_an_error_with_a_foreign_state_says_nothing_of_it",
    ),
    Mutant(
        "a POST passes on what Katana sends, and no more",
        "app/pages",
        "{name: request.form[name] for name in NAMES if name in request.form}",
        "{name: request.form[name] for name in request.form}",
        f"{CALLBACK_PAGES_TESTS}::test_s18_a_post_becomes_a_get_and_does_nothing_else",
    ),
    Mutant(
        "a look uses nothing up",
        "app/pages",
        'if request.method == "HEAD":',
        'if request.method == "LOOK":',
        f"{CALLBACK_PAGES_TESTS}::test_s18_no_other_method_reaches_the_callback",
    ),
    Mutant(
        "a redirect says nothing in words",
        "app/pages",
        'response.set_data(b"")',
        "pass",
        f"{CALLBACK_PAGES_TESTS}::test_s19_the_callback_shows_nothing_and_leaves_a_clean_address",
    ),
    Mutant(
        "the callback's address goes no further",
        "app/pages",
        'response.headers.setdefault("Referrer-Policy", "no-referrer")',
        "",
        f"{CALLBACK_PAGES_TESTS}::test_s20_s21_no_answer_is_kept_or_passes_its_address_on",
    ),
    Mutant(
        "no answer is kept",
        "app/pages",
        'response.headers["Cache-Control"] = "no-store"',
        "pass",
        f"{CALLBACK_PAGES_TESTS}::test_s20_s21_no_answer_is_kept_or_passes_its_address_on",
    ),
    Mutant(
        "junk meets a limit",
        "app/accounts",
        "return limiter.limit(JUNK_CALLBACKS, key_func=_visitor, deduct_when=_refused)(view)",
        "return view",
        (
            f"{CALLBACK_PAGES_TESTS}::test_s22_a_flood_of_junk_costs_no_request_and_stops_nobody_else",
            f"{CALLBACK_PAGES_TESTS}::test_s22_the_thousandth_made_up_callback_costs_no_more_than_the_first",
        ),
    ),
    Mutant(
        "another scope is logged",
        "app/pages",
        "if grant.scope not in {None, SCOPE}:",
        "if False:",
        f"{CALLBACK_PAGES_TESTS}::test_s24_another_scope_than_was_asked_for_is_logged",
    ),
    Mutant(
        "an answer is from the issuer",
        "app/pages",
        "if issuer and answer.iss != issuer:",
        "if issuer and not answer.iss:",
        f"{ISSUER}::test_o3_an_answer_of_another_issuer_ends_there",
    ),
    Mutant(
        "an issuer is one letter by letter",
        "app/pages",
        "if issuer and answer.iss != issuer:",
        'if issuer and answer.iss != issuer.rstrip("/"):',
        (
            f"{ISSUER}::test_o1_the_happy_path",
            f"{ISSUER}::test_o3_an_answer_of_another_issuer_ends_there",
        ),
    ),
    Mutant(
        "an answer names its issuer",
        "app/pages",
        "if issuer and answer.iss != issuer:",
        "if issuer and answer.iss not in {None, issuer}:",
        f"{ISSUER}::test_o3_an_answer_of_no_issuer_ends_there",
    ),
    Mutant(
        "a refusal is from the issuer",
        "app/pages",
        "if issuer and answer.iss != issuer:",
        "if issuer and answer.code and answer.iss != issuer:",
        f"{ISSUER}::test_s13_a_refusal_of_another_issuer_is_not_told_as_katanas",
    ),
    Mutant(
        "a repeat is no mistake",
        "app/pages",
        "if lifecycle.finished(current_user.id, answer.state):\n    return _to_dashboard()",
        "",
        f"{CALLBACK}::test_s12_a_callback_that_is_loaded_again_leads_to_the_dashboard",
    ),
    Mutant(
        "the way back is the one in the settings",
        "app/katana::KatanaLogin.authorization_url",
        "self.settings.redirect_uri",
        '"http://" + request.headers.get("X-Forwarded-Host", request.host) + "/katana/callback"',
        f"{CALLBACK}::test_s14_the_way_back_is_never_taken_from_a_request",
        also=(
            Change(
                OAUTH,
                "from requests import Response",
                "from flask import request\nfrom requests import Response",
            ),
        ),
    ),
    Mutant(
        "an error that nobody knows has words too",
        "app/pages",
        'return KNOWN.get(error or "", UNKNOWN)',
        'return KNOWN[error or ""]',
        f"{CALLBACK}::test_s16_an_error_is_told_in_our_words",
    ),
    Mutant(
        "no words but ours are shown",
        "templates/not_approved.html",
        "<p>{{ why.text }}</p>",
        "<p>{{ why.text }} {{ request.args.error_description }}</p>",
        f"{CALLBACK}::test_s17_nothing_of_the_address_shows_up_anywhere",
    ),
    Mutant(
        "no words but ours are logged",
        "app/pages",
        "answer = read(request.args)",
        'logger.info("back from Katana: %s", request.full_path)\nanswer = read(request.args)',
        f"{CALLBACK}::test_s17_nothing_of_the_address_shows_up_anywhere",
    ),
    Mutant(
        "nobody else counts visitors",
        "templates/base.html",
        "</head>",
        '<script src="https://visits.example/count.js" defer></script>\n</head>',
        f"{CALLBACK_PAGES_TESTS}::test_s19_no_page_loads_anything_from_elsewhere",
    ),
    Mutant(
        "signing in leads to the dashboard",
        "app/accounts/views.py",
        'redirect(url_for("dashboard.dashboard"), 303)',
        'redirect(request.values.get("next") or url_for("dashboard.dashboard"), 303)',
        f"{CALLBACK_PAGES_TESTS}::test_s23_nobody_is_sent_elsewhere",
    ),
    Mutant(
        "a closed page leads to the sign-in alone",
        "app/pages",
        'redirect(url_for("accounts.sign_in"), 303)',
        'redirect(url_for("accounts.sign_in", next=request.full_path), 303)',
        f"{CALLBACK_PAGES_TESTS}::test_s23_nobody_is_sent_elsewhere",
    ),
    Mutant(
        "an answer is whole",
        "app/pages",
        'if "state" not in values or ("code" in values) == ("error" in values):',
        'if "state" not in values:',
        f"{ISSUER}::test_o2_without_state_or_code_nothing_more_is_asked",
    ),
    Mutant(
        "a state is one to its last letter",
        "app/connections",
        "hashlib.sha256(state.encode())",
        "hashlib.sha256(state[:32].encode())",
        f"{ISSUER}::test_o2_with_another_state_nothing_more_is_asked",
    ),
    Mutant(
        "a refused token is renewed",
        "app/katana",
        "self._access_token(refused=token)",
        "self._access_token()",
        f"{ISSUER}::test_o6_access_is_refused_until_it_was_renewed_twice",
    ),
]
