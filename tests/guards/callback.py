"""The way back from Katana: what keeps S-12 to S-24, and which test notices."""

from tests.mutants import Mutant

CALLBACK = "tests/test_security_callback.py"
ISSUER = "tests/test_security_issuer.py"
CONNECT = "app/web/connect.py"
ANSWER = "app/web/katana_answer.py"
SECURITY = "app/web/security.py"

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
        "    try:\n        code_verifier",
        "    if answer.error:\n        return _not_approved(answer.error)\n\n"
        "    try:\n        code_verifier",
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
        "app/web/throttle.py",
        "return limiter.limit(JUNK_CALLBACKS, key_func=_visitor, deduct_when=_refused)(view)",
        "return view",
        f"{CALLBACK}::test_s22_a_flood_of_junk_costs_no_request_and_stops_nobody_else",
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
]
