"""Pages and the server below them: what keeps S-66 to S-82, and which test notices."""

from tests.mutants import Mutant

WEB = "tests/test_security_web.py"
PROXY = "tests/test_security_proxy.py"
CONFIG = "app/config.py"
SECURITY = "app/web/security.py"

GUARDS = [
    Mutant(
        "a form has its token",
        SECURITY,
        "    csrf.init_app(app)\n",
        "",
        f"{WEB}::test_s66_a_form_is_taken_with_its_own_token_only",
    ),
    Mutant(
        "a form is of this site",
        SECURITY,
        "    app.before_request(refuse_other_sites)\n",
        "",
        f"{WEB}::test_s66_a_form_on_another_site_is_refused",
    ),
    Mutant(
        "a form is of this site in older browsers",
        SECURITY,
        'origin.partition("://")[2] == request.host',
        "True",
        f"{WEB}::test_s66_a_form_on_another_site_is_refused",
    ),
    Mutant(
        "an answer has its headers",
        SECURITY,
        "    app.after_request(_headers(settings))\n",
        "",
        f"{WEB}::test_s70_every_answer_is_guarded",
    ),
    Mutant(
        "a page reaches no other site",
        SECURITY,
        """        "default-src 'none'",\n""",
        "",
        f"{WEB}::test_s67_a_page_reaches_katana_and_no_other_site",
    ),
    Mutant(
        "a form reaches Katana",
        SECURITY,
        "form-action 'self' {_origin(settings.katana.authorize_url)}",
        "form-action 'self'",
        f"{WEB}::test_s67_a_page_reaches_katana_and_no_other_site",
    ),
    Mutant(
        "a host is one of ours",
        CONFIG,
        '        "TRUSTED_HOSTS": list(settings.trusted_hosts),\n',
        "",
        f"{WEB}::test_s72_another_host_is_not_answered",
    ),
    Mutant(
        "a proxy is one of ours",
        "app/__init__.py",
        "    if settings.proxy_hops:\n        hops = settings.proxy_hops",
        "    if True:\n        hops = settings.proxy_hops or 1",
        f"{WEB}::test_s73_an_address_that_is_made_up_evades_no_limit",
    ),
    Mutant(
        "a proxy is believed the address and the scheme alone",
        "app/__init__.py",
        "x_host=0, x_prefix=0",
        "x_host=hops, x_prefix=hops",
        f"{PROXY}::test_s73_a_proxy_is_believed_the_address_and_the_scheme_alone",
    ),
    Mutant(
        "https stays https",
        SECURITY,
        "    if settings.https:",
        "    if False:",
        f"{PROXY}::test_s69_https_is_asked_for_from_then_on",
    ),
    Mutant(
        "a form says where it comes from",
        SECURITY,
        '"Referrer-Policy": "same-origin"',
        '"Referrer-Policy": "no-referrer"',
        f"{PROXY}::test_s68_a_form_works_from_its_own_page_only",
    ),
    Mutant(
        "a body has its limit",
        CONFIG,
        '        "MAX_CONTENT_LENGTH": FORM_BYTES,\n',
        "",
        f"{WEB}::test_s75_a_large_body_is_refused_unread",
    ),
    Mutant(
        "headers have their limit",
        "gunicorn.conf.py",
        "limit_request_fields = 64",
        "limit_request_fields = 1000",
        f"{WEB}::test_s75_long_lines_and_many_headers_are_refused",
    ),
    Mutant(
        "a page takes no other method",
        CONFIG,
        '"PROVIDE_AUTOMATIC_OPTIONS": False',
        '"PROVIDE_AUTOMATIC_OPTIONS": True',
        f"{WEB}::test_s76_a_page_takes_the_methods_that_it_declares",
    ),
    Mutant(
        "a line of the log cannot be forged",
        "app/logs.py",
        "        record.message = _printable(record.message)\n",
        "",
        f"{WEB}::test_s80_what_matters_is_told_and_nothing_forges_a_line",
    ),
]
