"""The way back from Katana: what keeps S-12 to S-24, and which test notices."""

from tests.support.mutants import Change, Mutant

CALLBACK = "tests/security/test_callback.py"
ISSUER = "tests/security/test_issuer.py"
CONNECT = "app/pages/connect.py"
ANSWER = "app/pages/callback_parameters.py"
SECURITY = "app/pages/security.py"
OAUTH = "app/katana/oauth.py"

GUARDS = [
    Mutant(
        "a repeat is told to its own user alone",
        "app/connections/lifecycle.py",
        "(Connection.user_id == user_id) & (Connection.connected_by == hash_of(state))",
        "Connection.connected_by == hash_of(state)",
        f"{CALLBACK}::test_s12_somebody_elses_finished_callback_is_refused",
    ),
    Mutant(
        "nothing is named twice",
        ANSWER,
        "if any(len(values) > 1 for values in given.values()):",
        "given = {name: values[:1] for name, values in given.items()}\n    if not given:",
        f"{CALLBACK}::test_s15_a_doubtful_answer_is_refused_before_anything_else",
    ),
    Mutant(
        "nothing is empty, endless or unprintable",
        ANSWER,
        "return 0 < len(value) <= CHARACTERS and value.isascii() and value.isprintable()",
        "return True",
        f"{CALLBACK}::test_s15_a_doubtful_answer_is_refused_before_anything_else",
    ),
    Mutant(
        "the state is judged before the error",
        CONNECT,
        "    attempts = current().attempts\n",
        "    if answer.error:\n        return _not_approved(answer.error)\n\n"
        "    attempts = current().attempts\n",
        f"{CALLBACK}::test_s16_an_error_with_a_foreign_state_says_nothing_of_it",
    ),
    Mutant(
        "a POST passes on what Katana sends, and no more",
        CONNECT,
        "for name in NAMES if name in request.form",
        "for name in request.form",
        f"{CALLBACK}::test_s18_a_post_becomes_a_get_and_does_nothing_else",
    ),
    Mutant(
        "a look uses nothing up",
        CONNECT,
        'if request.method == "HEAD":',
        'if request.method == "LOOK":',
        f"{CALLBACK}::test_s18_no_other_method_reaches_the_callback",
    ),
    Mutant(
        "a redirect says nothing in words",
        CONNECT,
        '        response.set_data(b"")\n',
        "        pass\n",
        f"{CALLBACK}::test_s19_the_callback_shows_nothing_and_leaves_a_clean_address",
    ),
    Mutant(
        "the callback's address goes no further",
        CONNECT,
        '    response.headers.setdefault("Referrer-Policy", "no-referrer")\n',
        "",
        f"{CALLBACK}::test_s20_s21_no_answer_is_kept_or_passes_its_address_on",
    ),
    Mutant(
        "no answer is kept",
        SECURITY,
        'response.headers["Cache-Control"] = "no-store"',
        "pass",
        f"{CALLBACK}::test_s20_s21_no_answer_is_kept_or_passes_its_address_on",
    ),
    Mutant(
        "junk meets a limit",
        "app/accounts/throttle.py",
        "return limiter.limit(JUNK_CALLBACKS, key_func=_visitor, deduct_when=_refused)(view)",
        "return view",
        (
            f"{CALLBACK}::test_s22_a_flood_of_junk_costs_no_request_and_stops_nobody_else",
            f"{CALLBACK}::test_s22_the_thousandth_made_up_callback_costs_no_more_than_the_first",
        ),
    ),
    Mutant(
        "another scope is logged",
        CONNECT,
        "if grant.scope not in {None, SCOPE}:",
        "if False:",
        f"{CALLBACK}::test_s24_another_scope_than_was_asked_for_is_logged",
    ),
    Mutant(
        "an answer is from the issuer",
        CONNECT,
        "if issuer and answer.iss != issuer:",
        "if issuer and not answer.iss:",
        f"{ISSUER}::test_o3_an_answer_of_another_issuer_ends_there",
    ),
    Mutant(
        "an issuer is one letter by letter",
        CONNECT,
        "if issuer and answer.iss != issuer:",
        'if issuer and answer.iss != issuer.rstrip("/"):',
        (
            f"{ISSUER}::test_o1_the_happy_path",
            f"{ISSUER}::test_o3_an_answer_of_another_issuer_ends_there",
        ),
    ),
    Mutant(
        "an answer names its issuer",
        CONNECT,
        "if issuer and answer.iss != issuer:",
        "if issuer and answer.iss not in {None, issuer}:",
        f"{ISSUER}::test_o3_an_answer_of_no_issuer_ends_there",
    ),
    Mutant(
        "a refusal is from the issuer",
        CONNECT,
        "if issuer and answer.iss != issuer:",
        "if issuer and answer.code and answer.iss != issuer:",
        f"{ISSUER}::test_s13_a_refusal_of_another_issuer_is_not_told_as_katanas",
    ),
    Mutant(
        "a repeat is no mistake",
        CONNECT,
        "    if lifecycle.finished(current_user.id, answer.state):\n"
        "        return _to_dashboard()\n\n"
        "    raise AttemptUsed",
        "    raise AttemptUsed",
        f"{CALLBACK}::test_s12_a_callback_that_is_loaded_again_leads_to_the_dashboard",
    ),
    Mutant(
        "the way back is the one in the settings",
        OAUTH,
        "redirect_uri=self.settings.redirect_uri,\n                scope=",
        'redirect_uri="http://"\n'
        '                + request.headers.get("X-Forwarded-Host", request.host)\n'
        '                + "/katana/callback",\n                scope=',
        f"{CALLBACK}::test_s14_the_way_back_is_never_taken_from_a_request",
        also=(
            Change(
                OAUTH,
                "from requests import Response\n",
                "from flask import request\nfrom requests import Response\n",
            ),
        ),
    ),
    Mutant(
        "an error that nobody knows has words too",
        "app/pages/authorization_errors.py",
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
        CONNECT,
        "    answer = read(request.args)\n",
        '    logger.info("back from Katana: %s", request.full_path)\n'
        "    answer = read(request.args)\n",
        f"{CALLBACK}::test_s17_nothing_of_the_address_shows_up_anywhere",
    ),
    Mutant(
        "nobody else counts visitors",
        "templates/base.html",
        "</head>",
        '<script src="https://visits.example/count.js" defer></script>\n</head>',
        f"{CALLBACK}::test_s19_no_page_loads_anything_from_elsewhere",
    ),
    Mutant(
        "signing in leads to the dashboard",
        "app/accounts/views.py",
        'redirect(url_for("dashboard.dashboard"), 303)',
        'redirect(request.values.get("next") or url_for("dashboard.dashboard"), 303)',
        f"{CALLBACK}::test_s23_nobody_is_sent_elsewhere",
    ),
    Mutant(
        "a closed page leads to the sign-in alone",
        SECURITY,
        'redirect(url_for("accounts.sign_in"), 303)',
        'redirect(url_for("accounts.sign_in", next=request.full_path), 303)',
        f"{CALLBACK}::test_s23_nobody_is_sent_elsewhere",
    ),
    Mutant(
        "an answer is whole",
        ANSWER,
        'if "state" not in values or ("code" in values) == ("error" in values):',
        'if "state" not in values:',
        f"{ISSUER}::test_o2_without_state_or_code_nothing_more_is_asked",
    ),
    Mutant(
        "a state is one to its last letter",
        "app/connections/attempts.py",
        "hashlib.sha256(state.encode())",
        "hashlib.sha256(state[:32].encode())",
        f"{ISSUER}::test_o2_with_another_state_nothing_more_is_asked",
    ),
    Mutant(
        "a refused token is renewed",
        "app/katana/client.py",
        "self._access_token(refused=token)",
        "self._access_token()",
        f"{ISSUER}::test_o6_access_is_refused_until_it_was_renewed_twice",
    ),
]
