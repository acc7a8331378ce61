"""The whole way in Chromium, app on localhost and Katana on 127.0.0.1: two sites, as in life."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.support.accessibility import DESK, PHONE, SIDEWAYS, is_accessible
from tests.support.journeys import ALDER, EMAIL, PASSWORD, connect, fill_in, press, shows, sign_up
from tests.support.sandbox import Sandbox

pytestmark = [pytest.mark.browser, pytest.mark.one_database]


@pytest.fixture(autouse=True)
def _nothing_breaks_the_policy(page: Page) -> Iterator[None]:
    """S-67: during the whole test the browser has had to stop nothing."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    yield
    assert not [text for text in said if "Content Security Policy" in text]


@pytest.mark.short_form(1)
@pytest.mark.dashboard
@pytest.mark.parametrize("method", ["get", "post"])
def test_the_journey(page: Page, sandbox: Sandbox, method: str) -> None:
    """S-18: sign up, connect, outlive a token, lose the grant, reconnect, cancel, disconnect."""
    sandbox.rules(callback_method=method)
    sign_up(page)
    connect(page)
    expect(page).to_have_url(re.compile(r"/dashboard$"))
    expect(page.get_by_role("status")).to_have_text(f"Connected to {ALDER}.")
    for table in ("Latest sales orders", "Stock"):
        expect(page.get_by_role("table", name=table).get_by_role("row")).to_have_count(9)

    sandbox.expire()
    page.reload()
    shows(page, ALDER)
    expect(page.locator(".facts")).to_contain_text("Renewed once")

    sandbox.kill()
    page.reload()
    shows(page, f"{ALDER} needs to be connected again")
    press(page, "Reconnect")
    press(page, "Approve")
    shows(page, ALDER)
    expect(page.locator(".history li").nth(1)).to_contain_text("Access ended")

    press(page, "Connect another account")
    press(page, "Cancel")
    shows(page, "You did not connect")
    page.get_by_role("link", name="Go to your dashboard").click()
    shows(page, ALDER)

    press(page, "Disconnect")
    shows(page, "Connect your Katana account")
    expect(page.get_by_role("status")).to_contain_text("This app deleted its keys")


@pytest.mark.slow
def test_katana_is_not_told_where_the_user_comes_from(page: Page, sandbox: Sandbox) -> None:
    """S-20: nothing of this app's pages goes along in a Referer."""
    sign_up(page)
    connect(page)

    (asked,) = sandbox.ledger().of("authorize")[:1]
    assert "referer" not in asked.headers


@pytest.mark.slow
def test_after_signing_out_the_back_button_shows_nothing(page: Page) -> None:
    """S-21: who sits down next does not get back to the data."""
    sign_up(page)
    connect(page)
    press(page, "Sign out")
    expect(page.get_by_role("link", name="Sign in", exact=True)).to_be_visible()

    page.go_back()

    shows(page, "Sign in")


@pytest.mark.slow
@pytest.mark.accounts
def test_no_mouse_is_needed(page: Page) -> None:
    """The way to the data can be gone with the keyboard alone."""
    page.goto("/sign-up")
    page.get_by_label("E-mail address").focus()
    for typed in (EMAIL, PASSWORD):
        page.keyboard.type(typed)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    shows(page, "Connect your Katana account")

    for name in ("Connect to Katana", "Approve"):
        tab_to(page, name)
        page.keyboard.press("Enter")

    shows(page, ALDER)


def tab_to(page: Page, name: str) -> None:
    """Move the focus on until it is on the button with this name."""
    button = page.get_by_role("button", name=name, exact=True)
    expect(button).to_be_visible()
    for _ in range(20):
        if button.evaluate("button => button === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the keyboard does not get to {name}")


@pytest.mark.slow
@pytest.mark.accounts
def test_the_first_pages_are_accessible(page: Page) -> None:
    """axe finds nothing on the way from the first page to the data."""
    page.goto("/")
    is_accessible(page)
    page.goto("/sign-up")
    fill_in(page, "ada", "short")
    press(page, "Create the account")
    expect(page).to_have_title(re.compile("^Error: "))
    is_accessible(page)
    sign_up(page)
    connect(page)
    is_accessible(page)


@pytest.mark.slow
@pytest.mark.accounts
def test_every_page_is_accessible(page: Page, sandbox: Sandbox) -> None:
    """axe finds nothing on any page in any state, and no page scrolls sideways on a phone."""
    for address in ("/", "/sign-up", "/nowhere"):
        page.goto(address)
        is_accessible(page)
    page.goto("/sign-up")
    fill_in(page, "ada", "short")
    press(page, "Create the account")
    expect(page).to_have_title(re.compile("^Error: "))
    is_accessible(page)

    sign_up(page)
    is_accessible(page)
    press(page, "Connect to Katana")
    press(page, "Cancel")
    shows(page, "You did not connect")
    is_accessible(page)
    connect(page)
    is_accessible(page)
    page.get_by_role("link", name=EMAIL).click()
    shows(page, "Your account")
    is_accessible(page)
    page.get_by_role("link", name="Delete my account").click()
    press(page, "Delete my account")
    expect(page).to_have_title(re.compile("^Error: "))
    is_accessible(page)
    page.goto("/katana/callback?code=c&state=s")
    is_accessible(page)

    sandbox.fault("api", "status", status=503)
    page.goto("/dashboard")
    is_accessible(page)
    sandbox.kill()
    page.reload()
    shows(page, f"{ALDER} needs to be connected again")
    is_accessible(page)
    press(page, "Disconnect")
    is_accessible(page)

    press(page, "Sign out")
    is_accessible(page)
    page.goto("/sign-in")
    fill_in(page, EMAIL, "something else altogether")
    press(page, "Sign in")
    is_accessible(page)
    for _ in range(10):
        page.get_by_label("Password").fill("something else altogether")
        press(page, "Sign in")
    shows(page, "Too many tries")
    is_accessible(page)


@pytest.mark.slow
@pytest.mark.accounts
def test_a_user_takes_the_data_along_and_leaves(page: Page) -> None:
    """The file is saved, not shown; then the account is gone, and the first page says so."""
    sign_up(page)
    connect(page)
    page.get_by_role("link", name=EMAIL).click()
    with page.expect_download() as download:
        press(page, "Download my data")
    assert EMAIL in download.value.path().read_text()
    shows(page, "Your account")

    page.get_by_role("link", name="Delete my account").click()
    expect(page.locator(".goes")).to_contain_text(ALDER)
    page.get_by_label("Password").fill(PASSWORD)
    press(page, "Delete my account")

    expect(page.get_by_role("status")).to_contain_text("Your account is deleted")
    expect(page.get_by_role("link", name="Sign in", exact=True)).to_be_visible()


#: A longer name, for everything that shows one.
LENGTHEN = """selector => document.querySelectorAll(selector)
    .forEach(name => name.append(" Hochdruckwasserstrahlschneidemaschinenersatzteil".repeat(2)))"""
BEYOND = "card => card.scrollWidth > card.clientWidth"


@pytest.mark.slow
@pytest.mark.dashboard
def test_no_name_is_too_long_for_its_place(page: Page, sandbox: Sandbox) -> None:
    """Whatever makers, customers and products are called, a page holds it, on a phone too."""
    sign_up(page)
    connect(page)
    stays_in_place(page, "nav span, .notice, h1, dd, tbody th, th + td:not(.number)")

    sandbox.kill()
    page.goto("/dashboard")
    shows(page, f"{ALDER} needs to be connected again")
    stays_in_place(page, "nav span, h1")


def stays_in_place(page: Page, names: str) -> None:
    """However long they are, nothing gets out of its card, or out of the window."""
    page.evaluate(LENGTHEN, names)
    for width, _ in (PHONE, DESK):
        page.set_viewport_size({"width": width, "height": 800})
        cards = page.locator(".card, main").all()

        assert not any(card.evaluate(BEYOND) for card in cards), f"at {width} pixels"
        assert not page.evaluate(SIDEWAYS), f"at {width} pixels"
