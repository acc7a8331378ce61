"""Do the tests of the copy's pages bite? Each guard is weakened in a copy, and a test must fail."""

from tests.support.mutants import Change, Mutant, notice_test, place_test

FRESHNESS_TESTS = "tests/sync/copy/test_freshness.py"
ORDERS_TESTS = "tests/sync/copy/test_orders.py"
PAGES_TESTS = "tests/sync/copy/test_pages.py"
BROWSER = "tests/sync/copy/test_browser.py"
SCRIPT = "app/static/page.js"

MUTANTS = [
    Mutant(
        "an order is looked up in one's own copy",
        "app/pages/copy::one",
        "shown(Order, connection_id)",
        "select(Order)",
        f"{PAGES_TESTS}::test_nobody_reaches_an_order_of_somebody_elses",
    ),
    Mutant(
        "a list is of one's own copy",
        "app/pages/copy::search",
        "matching = shown(Order, connection_id)",
        "matching = select(Order)",
        f"{PAGES_TESTS}::test_nobody_reaches_an_order_of_somebody_elses",
    ),
    Mutant(
        "what another account has left is not listed",
        "app/pages/copy::search",
        "matching = shown(Order, connection_id)",
        "matching = select(Order).where(Order.connection_id == connection_id)",
        f"{PAGES_TESTS}::test_what_an_earlier_account_has_left_is_not_shown",
    ),
    Mutant(
        "what another account has left has no page",
        "app/pages/copy",
        "order = db.session.scalar(shown(Order, connection_id).where(Order.id == order_id))",
        "mine = select(Order).where(Order.connection_id == connection_id)\n"
        "order = db.session.scalar(mine.where(Order.id == order_id))",
        f"{PAGES_TESTS}::test_what_an_earlier_account_has_left_is_not_shown",
    ),
    Mutant(
        "no customer of another account gives an order their name",
        "app/pages/copy",
        "shown(Customer, connection_id).where(Customer.id.in_(ids))",
        "select(Customer).where(Customer.id.in_(ids))",
        f"{PAGES_TESTS}::test_what_an_earlier_account_has_left_is_not_shown",
    ),
    Mutant(
        "no product of another account gives stock its name",
        "app/pages/copy",
        "shown(Product, connection_id).join(Variant, its)",
        "select(Product).join(Variant, its)",
        f"{PAGES_TESTS}::test_what_an_earlier_account_has_left_is_not_shown",
        also=(
            Change(
                "app/pages/copy",
                "from sqlalchemy import Select, and_",
                "from sqlalchemy import Select, and_, select",
            ),
        ),
    ),
    Mutant(
        "an id is one that a database holds",
        "app/pages/copy",
        'f"/orders/<int(max={MOST_ID}):order_id>"',
        'f"/orders/<int:order_id>"',
        f"{ORDERS_TESTS}::test_an_order_that_is_not_there_is_no_page",
    ),
    Mutant(
        "a position tells orders of one moment apart",
        "app/pages/copy",
        "return tuple_(Order.ordered_at, Order.id)",
        "return tuple_(Order.ordered_at, literal(0))",
        f"{ORDERS_TESTS}::test_orders_of_one_moment_are_all_listed",
    ),
    Mutant(
        "a position is a moment that there is",
        "app/pages/copy",
        "except (ValueError, OverflowError):",
        "except ValueError:",
        f"{ORDERS_TESTS}::test_no_address_breaks_the_list",
    ),
    Mutant(
        "what is searched for is cleaned",
        "app/pages/copy",
        "character.isprintable()",
        "character",
        f"{ORDERS_TESTS}::test_a_search_is_cut_and_cleaned",
    ),
    Mutant(
        "what is searched for is no pattern",
        "app/pages/copy",
        "Order.number.icontains(text, autoescape=True)",
        "Order.number.icontains(text)",
        f"{ORDERS_TESTS}::test_orders_are_found_by_number_and_by_customer",
    ),
    Mutant(
        "a name is found however it is written",
        "app/pages/copy",
        "spellings = {text, text.lower(), text.upper(), text.title()}",
        "spellings = {text}",
        f"{ORDERS_TESTS}::test_orders_are_found_by_number_and_by_customer",
    ),
    Mutant(
        "what runs short comes first",
        "app/pages/copy",
        "is_short.desc()",
        "",
        f"{PAGES_TESTS}::test_what_runs_short_comes_first",
    ),
    Mutant(
        "no sum overflows in the database",
        "app/pages/copy",
        "return cast(type_coerce(amount, BigInteger), Float)",
        "return type_coerce(amount, BigInteger)",
        f"{PAGES_TESTS}::test_amounts_that_no_sum_can_hold_break_nothing",
    ),
    Mutant(
        "a page too far is the last",
        "app/pages/copy",
        "if not found and page > 1:",
        "if False:",
        f"{PAGES_TESTS}::test_no_page_of_the_stock_is_too_far",
    ),
    Mutant(
        "the dashboard with a copy asks Katana nothing",
        "app/pages/dashboard.py",
        "copied and copied.has_begun",
        "False",
        f"{FRESHNESS_TESTS}::test_the_dashboard_shows_the_copy_and_asks_katana_nothing",
    ),
    Mutant(
        "the dashboard without a copy asks Katana",
        "app/pages/dashboard.py",
        "copied and copied.has_begun",
        "copied",
        f"{FRESHNESS_TESTS}::test_until_a_worker_has_begun_the_dashboard_asks_katana",
    ),
    Mutant(
        "a copy that nobody reads any more is told",
        "app/pages/copy",
        "LATE_SECONDS = 90.0",
        "LATE_SECONDS = 1e9",
        f"{FRESHNESS_TESTS}::test_a_worker_that_does_not_run_is_told",
    ),
    Mutant(
        "an ended grant is told as such",
        "app/pages/copy::_why",
        "if not is_active:",
        "if False:",
        f"{FRESHNESS_TESTS}::test_where_katana_has_ended_access_the_copy_is_shown_with_how_old_it_is",
    ),
    Mutant(
        "a version moves with what a hint has named",
        "app/pages/copy",
        "(seen, moves, list(resources.values()), hears)",
        "(seen, list(resources.values()), hears)",
        f"{FRESHNESS_TESTS}::test_the_version_is_another_one_once_a_page_would_show_something_else",
    ),
    Mutant(
        "a version moves with the age that a page tells",
        "app/pages/copy",
        'age = as_of((status.at - cursor.read_at).total_seconds()) if cursor.read_at else ""',
        'age = as_of(0) if cursor.read_at else ""',
        f"{FRESHNESS_TESTS}::test_the_version_is_another_one_once_a_page_would_show_something_else",
    ),
    Mutant(
        "the button overrides a pause",
        "app/pages/copy",
        "sync.update_now(connection_id)",
        "sync.hint(connection_id)",
        f"{FRESHNESS_TESTS}::test_update_now_makes_everything_due_and_asks_katana_nothing",
    ),
    Mutant(
        "a form leads to a page of ours",
        "app/pages/copy",
        'redirect(url_for(BACK.get(request.form.get("back", ""), "dashboard.dashboard")), 303)',
        'redirect(request.form.get("back", ""), 303)',
        f"{FRESHNESS_TESTS}::test_update_now_leads_nowhere_else",
    ),
    Mutant(
        "a name is isolated from the text around it",
        "templates/copy/parts.html",
        "<td><bdi>{{ order.customer }}</bdi></td>",
        "<td>{{ order.customer }}</td>",
        f"{PAGES_TESTS}::test_names_from_katana_are_text_of_their_own",
    ),
    Mutant(
        "a script uses up nothing that is told once",
        "templates/base.html",
        '!= "empty"',
        '!= "nothing"',
        f"{FRESHNESS_TESTS}::test_a_page_that_follows_uses_up_nothing_that_is_told_once",
    ),
    Mutant(
        "the focus stays where it is",
        SCRIPT,
        "if (place >= 0) focusable(part)[place]?.focus();",
        "",
        f"{BROWSER}::test_a_new_order_appears_by_itself",
    ),
    Mutant(
        "a page that cannot follow says so",
        SCRIPT,
        "follow.hidden = failures < LOST_AFTER;",
        "",
        f"{BROWSER}::test_a_page_that_cannot_follow_says_so",
    ),
    Mutant(
        "another state of the connection is another page",
        SCRIPT,
        "  if (!isSame) {\n",
        "  if (false) {\n",
        f"{BROWSER}::test_where_the_connection_has_become_another_the_page_is_loaded_again",
    ),
]


test_every_guard_is_where_the_list_says = place_test(MUTANTS)
test_every_guard_is_noticed_when_it_is_gone = notice_test(MUTANTS)
