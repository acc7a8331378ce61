"""Users of the app: makers with a browser, who fill in forms and follow links."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urljoin, urlsplit

import requests
from flask.testing import FlaskClient

from tests.support.pages import Page
from tests.support.sandbox import TIMEOUT, Callback, Sandbox

#: An order on a dashboard that has read from the sandbox. A fork may show something else.
LIVE = "SO-64"
#: The marks of tests that a fork leaves out, because it has replaced `dashboard` or `accounts`, or
#: deleted the `sandbox`.
REPLACED: frozenset[str] = frozenset()


class Browser(Protocol):
    """Sends one request with its cookies, and follows no redirect."""

    def send(self, method: str, url: str, form: Mapping[str, str] | None = None) -> Page:
        """The response."""


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
            self._http.trust_env = False  # else the environment's settings would win
            self._http.verify = str(authority)
            self._http.headers["Origin"] = url  # needed by the CSRF check over https

    def send(self, method: str, url: str, form: Mapping[str, str] | None = None) -> Page:
        answer = self._http.request(
            method, urljoin(self._url, url), data=form, allow_redirects=False, timeout=TIMEOUT
        )
        location = answer.headers.get("Location")
        return Page(answer.status_code, answer.text, location, dict(answer.headers))

    def cookies(self) -> dict[str, str]:
        """Its cookies, by name."""
        return self._http.cookies.get_dict()

    def close(self) -> None:
        """Close the sockets."""
        self._http.close()


class Maker:
    """A user of the app, and of Katana."""

    def __init__(self, browser: Browser, sandbox: Sandbox, name: str = "ada") -> None:
        self.browser = browser
        self.sandbox = sandbox
        self.email = f"{name}@workshop.example"
        self.password = f"{name} builds chairs from oak"

    def get(self, url: str) -> Page:
        """Get one page, following redirects within the app."""
        return self._follow(self.browser.send("GET", url))

    def submit(self, page: Page, action: str, **typed: str) -> Page:
        """Send the form of `page` with this action; the response, redirects not followed."""
        form = page.form(action)
        return self.browser.send(form.method.upper(), action, form.fields | typed)

    def sign_up(self) -> Page:
        """Create an account, which also signs in."""
        return self._sign("/sign-up")

    def sign_in(self) -> Page:
        """Sign in to the account."""
        return self._sign("/sign-in")

    def sign_out(self) -> Page:
        """Sign out."""
        return self._follow(self.submit(self.dashboard(), "/sign-out"))

    def dashboard(self) -> Page:
        """The dashboard, with live data if connected."""
        return self.get("/dashboard")

    def begin(self) -> str:
        """Press Connect to Katana, and return the URL at Katana."""
        page = self.submit(self.dashboard(), "/katana/connect")
        assert page.status == 303, f"the button answers {page.status}: {page.text}"
        assert page.location, "the button leads nowhere"
        return page.location

    def return_with(self, callback: Callback) -> Page:
        """Follow Katana's redirect to the callback; the final page."""
        method = "GET" if callback.form is None else "POST"
        return self._follow(self.browser.send(method, callback.url, callback.form))

    def connect(self, *, factory: str | None = None, decision: str = "approve") -> Page:
        """Connect: press the button, decide on Katana's consent page, and come back."""
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
