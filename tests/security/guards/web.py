"""Pages and the server below them: what keeps S-66 to S-82, and which tests notice."""

from tests.support.mutants import Change, Mutant

HTTP_TESTS = "tests/security/test_http.py"
TESTS = "tests/security/test_web.py"
LEAVING = "tests/connections/test_leaving.py"
SECURITY = "app/pages/security.py"
FACTORY = "app/__init__.py"
GUNICORN = "gunicorn.conf.py"

GUARDS = [
    Mutant(
        "a form has its token",
        "app/pages",
        "csrf.init_app(app)",
        'app.config["WTF_CSRF_CHECK_DEFAULT"] = False\ncsrf.init_app(app)',
        f"{TESTS}::test_s66_a_form_is_taken_with_its_own_token_only",
    ),
    Mutant(
        "a form is of this site",
        SECURITY,
        "app.before_request(refuse_other_sites)",
        "",
        f"{TESTS}::test_s66_a_form_on_another_site_is_refused",
    ),
    Mutant(
        "a form is of this site in older browsers",
        "app/pages",
        'origin.partition("://")[2] == request.host',
        "True",
        f"{TESTS}::test_s66_a_form_on_another_site_is_refused",
    ),
    Mutant(
        "a page reaches no other site",
        "app/pages",
        "\"default-src 'none'\"",
        "",
        f"{TESTS}::test_s67_a_page_reaches_katana_and_no_other_site",
    ),
    Mutant(
        "no script in a page runs",
        "app/pages",
        "\"script-src 'self'\"",
        "\"script-src 'self' 'unsafe-inline'\"",
        (
            f"{TESTS}::test_s70_every_answer_is_guarded",
            f"{TESTS}::test_s67_a_page_reaches_katana_and_no_other_site",
        ),
    ),
    Mutant(
        "a form reaches Katana",
        "app/pages",
        "f\"form-action 'self' {_origin(settings.katana.authorize_url)}\"",
        "f\"form-action 'self'\"",
        f"{TESTS}::test_s70_every_answer_is_guarded",
    ),
    Mutant(
        "the button follows a login that moved",
        "app/pages",
        'if request.headers.get("Sec-Fetch-Mode") == "navigate":',
        "if False:",
        (
            f"{LEAVING}::test_the_button_follows_a_login_that_moved",
            f"{LEAVING}::test_a_browser_is_led_on_by_a_page",
        ),
    ),
    Mutant(
        "clients that do not navigate are redirected",
        "app/pages",
        'if request.headers.get("Sec-Fetch-Mode") == "navigate":',
        "if True:",
        f"{LEAVING}::test_what_does_not_navigate_is_redirected",
    ),
    Mutant(
        "an answer has its headers",
        "app/pages",
        "app.after_request(_headers(settings))",
        "",
        f"{TESTS}::test_s70_every_answer_is_guarded",
    ),
    Mutant(
        "no site frames a page",
        "app/pages",
        "\"frame-ancestors 'none'\"",
        '"frame-ancestors *"',
        f"{TESTS}::test_s71_no_other_site_can_frame_a_page",
    ),
    Mutant(
        "a host is one of ours",
        "app/settings",
        '"TRUSTED_HOSTS": list(settings.trusted_hosts)',
        "",
        f"{HTTP_TESTS}::test_s72_another_host_is_not_answered",
    ),
    Mutant(
        "a proxy is one of ours",
        FACTORY,
        "if settings.proxy_hops:",
        "if True:",
        (
            f"{HTTP_TESTS}::test_s73_without_a_proxy_nobody_speaks_for_one",
            f"{HTTP_TESTS}::test_s73_an_address_that_is_made_up_evades_no_limit",
        ),
        also=(Change(FACTORY, "hops = settings.proxy_hops", "hops = settings.proxy_hops or 1"),),
    ),
    Mutant(
        "there is no debugger",
        "wsgi.py",
        "app = create_app()",
        "from werkzeug.debug import DebuggedApplication\n"
        "\n"
        "app = create_app()\n"
        "app.wsgi_app = DebuggedApplication(app.wsgi_app, evalex=True)",
        f"{HTTP_TESTS}::test_s74_there_is_no_debugger",
    ),
    Mutant(
        "what is sent to a page has its limit",
        "app/settings",
        '"MAX_CONTENT_LENGTH": FORM_BYTES',
        "",
        f"{HTTP_TESTS}::test_s75_a_large_body_is_refused_unread",
    ),
    Mutant(
        "headers have their limit",
        GUNICORN,
        "limit_request_fields = 64",
        "limit_request_fields = 1000",
        f"{HTTP_TESTS}::test_s75_long_lines_and_many_headers_are_refused",
    ),
    Mutant(
        "who sends slowly holds a thread, not a worker",
        GUNICORN,
        '_environ.get("GUNICORN_THREADS", "8")',
        '_environ.get("GUNICORN_THREADS", "1")',
        f"{HTTP_TESTS}::test_s75_who_sends_slowly_keeps_nobody_else_waiting",
    ),
    Mutant(
        "a page takes no other method",
        "app/settings",
        '"PROVIDE_AUTOMATIC_OPTIONS": False',
        '"PROVIDE_AUTOMATIC_OPTIONS": True',
        f"{HTTP_TESTS}::test_s76_a_page_takes_the_methods_that_it_declares",
    ),
    Mutant(
        "files come from one folder",
        FACTORY,
        'template_folder="../templates"',
        'template_folder="../templates", static_folder="..", static_url_path=""',
        f"{HTTP_TESTS}::test_s77_nothing_but_the_pages_is_served",
    ),
    Mutant(
        "health has no details",
        "app/operations",
        "if doctor_echo.is_proof(request.headers.get(doctor_echo.HEADER), "
        'current_app.config["SECRET_KEY"]):',
        "if True:",
        f"{HTTP_TESTS}::test_s77_health_has_no_details",
    ),
    Mutant(
        "a doubtful header is refused",
        GUNICORN,
        'forwarded_allow_ips = ""',
        'forwarded_allow_ips = ""\nstrip_header_spaces = True',
        f"{HTTP_TESTS}::test_s78_what_two_servers_could_read_differently_is_refused",
    ),
    Mutant(
        "what was typed is shown as text",
        "templates/parts.html",
        "{{ field.data or '' }}",
        "{{ (field.data or '')|safe }}",
        f"{TESTS}::test_s79_quotes_are_text",
    ),
    Mutant(
        "what is typed is a value, not SQL",
        "app/accounts/views.py",
        "select(User.id, User.password_hash).where(User.email == email)",
        "select(User.id, User.password_hash).where(db.text(f\"email = '{email}'\"))",
        f"{TESTS}::test_s79_quotes_are_text",
    ),
    Mutant(
        "a SQLite file is its owner's alone",
        "app/database",
        "keep_private(engine)",
        "",
        f"{TESTS}::test_s79_a_sqlite_file_is_its_owners_alone",
    ),
    Mutant(
        "what happens to a connection is told",
        "app/connections",
        'logger.log(level, "%s", event, extra=_fields(event))',
        "",
        f"{TESTS}::test_s80_what_matters_is_told_and_nothing_forges_a_line",
    ),
    Mutant(
        "a connect is told",
        "app/connections::Lifecycle.connect",
        "history.announce",
        "str",
        f"{TESTS}::test_s80_what_matters_is_told_and_nothing_forges_a_line",
    ),
    Mutant(
        "a line of the log cannot be forged",
        "app/operations",
        "record.message = _printable(record.message)",
        "",
        f"{TESTS}::test_s80_what_matters_is_told_and_nothing_forges_a_line",
    ),
    Mutant(
        "an error's own words stay inside",
        "app/pages::_database_away",
        "return _page(DATABASE_AWAY)",
        "return _page(replace(DATABASE_AWAY, text=str(error)))",
        f"{TESTS}::test_s81_what_fails_fails_closed",
    ),
    Mutant(
        "a failure is not taken for an absence",
        "app/connections",
        "return db.session.scalar(select(Connection).where(Connection.user_id == user_id))",
        "found = select(Connection).where(Connection.user_id == user_id)\n"
        "try:\n"
        "    return db.session.scalar(found)\n"
        "except Exception:\n"
        "    return None",
        f"{TESTS}::test_s81_what_fails_fails_closed",
    ),
]
