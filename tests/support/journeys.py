"""The steps of a user in a browser."""

from playwright.sync_api import Page, expect

ALDER = "Alder & Spoke Bicycles"
EMAIL, PASSWORD = "ada@workshop.example", "walnut drawers slide well"


def shows(page: Page, headline: str) -> None:
    """The page has this headline."""
    expect(page.get_by_role("heading", level=1)).to_have_text(headline)


def press(page: Page, name: str) -> None:
    """Press the button with this name."""
    page.get_by_role("button", name=name, exact=True).click()


def fill_in(page: Page, email: str, password: str) -> None:
    """Fill in the form to sign up or to sign in."""
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)


def sign_up(page: Page) -> None:
    """Create an account."""
    page.goto("/sign-up")
    fill_in(page, EMAIL, PASSWORD)
    press(page, "Create the account")
    shows(page, "Connect your Katana account")


def connect(page: Page) -> None:
    """Connect to Katana, until the data is shown."""
    press(page, "Connect to Katana")
    press(page, "Approve")
    shows(page, ALDER)
