"""The way to Katana's authorization page, where that moves the browser on to other origins."""

import html
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Page, expect
from werkzeug.test import TestResponse

from tests.support.actors import ClientBrowser, Maker
from tests.support.journeys import ALDER, press, shows, sign_up
from tests.support.sandbox import Sandbox
from tests.support.wire import Peer, Wire, answer, wire

pytestmark = pytest.mark.own_stage

NAVIGATES = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def moved(sandbox: Sandbox) -> Iterator[Wire]:
    """An authorization page that has moved: single sign-on is at another origin, by two steps."""

    def script(peer: Peer) -> None:
        while True:
            asked = peer.hear()
            path, _, query = asked.target.partition("?")
            onward = "/sso" if path == "/authorize" else f"{sandbox.url}/authorize"
            peer.send(answer(status=302, headers={"Location": f"{onward}?{query}"}))

    with wire(script) as server:
        yield server


@pytest.fixture
def environ(environ: dict[str, str], moved: Wire) -> dict[str, str]:
    """The settings name the address from before the move."""
    return environ | {"KATANA_AUTHORIZE_URL": f"{moved.url}/authorize"}


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.one_database
def test_the_button_follows_a_login_that_moved(page: Page, moved: Wire) -> None:
    """Chromium applies a form's `form-action` to each redirect after it; the button works anyway.

    Of the same kind: single sign-on at an origin that depends on the user, several origins in a
    row, the buttons "Reconnect" and "Connect another account", and that of "You did not connect".
    """
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    sign_up(page)
    press(page, "Connect to Katana")
    press(page, "Approve")
    shows(page, ALDER)

    press(page, "Connect another account")
    press(page, "Cancel")
    shows(page, "You did not connect")
    press(page, "Connect to Katana")
    press(page, "Approve")
    shows(page, ALDER)

    assert not [text for text in said if "Content Security Policy" in text]
    assert len([heard for heard in moved.heard if heard.target.startswith("/authorize?")]) == 3
    assert all("referer" not in heard.headers for heard in moved.heard)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.one_database
def test_back_from_katana_leads_to_the_dashboard(page: Page) -> None:
    """The page in between replaces itself in the history, so that Back does not lead on again."""
    sign_up(page)
    press(page, "Connect to Katana")
    expect(page.get_by_role("button", name="Approve", exact=True)).to_be_visible()

    page.go_back()

    shows(page, "Connect your Katana account")


@pytest.mark.one_database
def test_a_browser_is_led_on_by_a_page(client: FlaskClient, sandbox: Sandbox, moved: Wire) -> None:
    """It holds the address twice: for the browser, and as a link where refreshing is switched off.

    It has no form, and nothing may keep a copy of it.
    """
    page = pressed(client, sandbox, NAVIGATES)

    assert page.status_code == 200
    (refresh,) = re.findall(r'http-equiv="refresh" content="0; url=([^"]*)"', page.text)
    assert f'href="{refresh}"' in page.text
    address = html.unescape(refresh)
    assert address.startswith(f"{moved.url}/authorize?")
    assert "state=" in address
    assert "<form" not in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.one_database
@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Mode": "cors"}], ids=["none", "a script"])
def test_what_does_not_navigate_is_redirected(
    client: FlaskClient, sandbox: Sandbox, moved: Wire, headers: dict[str, str]
) -> None:
    """Clients without such headers, older browsers among them, follow the 303 as before."""
    page = pressed(client, sandbox, headers)

    assert page.status_code == 303
    there = urlsplit(page.location or "")
    assert f"{there.scheme}://{there.netloc}{there.path}" == f"{moved.url}/authorize"


def pressed(client: FlaskClient, sandbox: Sandbox, headers: dict[str, str]) -> TestResponse:
    """What a new user gets for the button, with these headers."""
    maker = Maker(ClientBrowser(client), sandbox)
    maker.sign_up()
    form = maker.dashboard().form("/katana/connect").fields
    return client.post("/katana/connect", data=form, headers=headers)
