"""Who uses the app: makers with a browser, who fill in forms and follow links."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urljoin, urlsplit

import requests
from flask.testing import FlaskClient

from tests.support.pages import Page
from tests.support.sandbox import TIMEOUT, Callback, Sandbox

#: What a dashboard shows that has read from the sandbox. A fork's own shows something else.
LIVE = "SO-64"
#: The marks of tests that are left out, since a fork has another `dashboard`, other `accounts`, or
#: does without the `sandbox`.
REPLACED: frozenset[str] = frozenset()


class Browser(Protocol):
    """Sends one request with its cookies, and follows nothing by itself."""

    def send(self, method: str, url: str, form: Mapping[str, str] | None = None) -> Page:
        """What came back."""


class ClientBrowser:
    """A browser inside this process: Flask's test client."""

    def __init__(self, client: FlaskClient) -> None:
        self._client = client

    def send(self, method: str, url: str, form: Mapping[str, str] | None = None) -> Page:
        parts = urlsplit(url)
        answer = self._client.open(
            parts.path, method=method, query_string=parts.query, data=form or None
        )
        headers = dict(answer.headers)
        return Page(answer.status_code, answer.get_data(as_text=True), answer.location, headers)


class WireBrowser:
    """A browser over the network."""

    def __init__(self, url: str, authority: Path | None = None) -> None:
        self._url = url
        self._http = requests.Session()
        if authority:
            self._http.trust_env = False  # else what the environment trusts would win
            self._http.verify = str(authority)
            self._http.headers["Origin"] = url  # by https a form must show where it came from

    def send(self, method: str, url: str, form: Mapping[str, str] | None = None) -> Page:
        answer = self._http.request(
            method, urljoin(self._url, url), data=form, allow_redirects=False, timeout=TIMEOUT
        )
        location = answer.headers.get("Location")
        return Page(answer.status_code, answer.text, location, dict(answer.headers))

    def cookies(self) -> dict[str, str]:
        """What it has kept, by name."""
        return self._http.cookies.get_dict()

    def close(self) -> None:
        """Let go of the sockets."""
        self._http.close()


class Maker:
    """A user of the app, and of Katana."""

    def __init__(self, browser: Browser, sandbox: Sandbox, name: str = "ada") -> None:
        self.browser = browser
        self.sandbox = sandbox
        self.email = f"{name}@workshop.example"
        self.password = f"{name} builds chairs from oak"

    def get(self, url: str) -> Page:
        """One page, redirects of the app's own followed."""
        return self._follow(self.browser.send("GET", url))

    def submit(self, page: Page, action: str, **typed: str) -> Page:
        """Send the form of `page` that goes to `action`; the answer as it came."""
        form = page.form(action)
        return self.browser.send(form.method.upper(), action, form.fields | typed)

    def sign_up(self) -> Page:
        """Make an account, and be signed in."""
        return self._sign("/sign-up")

    def sign_in(self) -> Page:
        """Sign in to the account."""
        return self._sign("/sign-in")

    def sign_out(self) -> Page:
        """Sign out."""
        return self._follow(self.submit(self.dashboard(), "/sign-out"))

    def dashboard(self) -> Page:
        """The dashboard, with live data once connected."""
        return self.get("/dashboard")

    def begin(self) -> str:
        """Press Connect to Katana; returns the address at Katana that this leads to."""
        page = self.submit(self.dashboard(), "/katana/connect")
        assert page.status == 303, f"the button answers {page.status}: {page.text}"
        assert page.location, "the button leads nowhere"
        return page.location

    def return_with(self, callback: Callback) -> Page:
        """Come back from Katana, and see where that ends."""
        method = "GET" if callback.form is None else "POST"
        return self._follow(self.browser.send(method, callback.url, callback.form))

    def connect(self, *, factory: str | None = None, decision: str = "approve") -> Page:
        """The whole way: the button, Katana's consent page, and back."""
        return self.return_with(
            self.sandbox.approve(self.begin(), factory=factory, decision=decision)
        )

    def disconnect(self) -> Page:
        """Press Disconnect."""
        return self._follow(self.submit(self.dashboard(), "/katana/disconnect"))

    def _sign(self, path: str) -> Page:
        answer = self.submit(self.get(path), path, email=self.email, password=self.password)
        return self._follow(answer)

    def _follow(self, page: Page) -> Page:
        for _ in range(5):
            if page.location is None or not _is_ours(page.location):
                return page
            page = self.browser.send("GET", page.location)
        raise AssertionError(f"redirects without end, last to {page.location}")


def _is_ours(location: str) -> bool:
    return re.match(r"https?://localhost[:/]|/", location) is not None
