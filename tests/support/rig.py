"""The rig of the security tests: the app under gunicorn, Katana on another site, cookie jars.

Many tests share it, and it is reset for each. Every secret is recorded when it is sent in a form, a
cookie, a URL or a request to Katana's token endpoint. At the end none of them may be in the log,
which is at DEBUG, or in a response to a browser.
"""

import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urljoin, urlsplit

import requests
from flask import Flask
from sqlalchemy import delete

from app import create_app
from app.accounts.models import RateLimit, User
from app.database.db import db
from tests.support.actors import Maker
from tests.support.cookies import opened
from tests.support.pages import Page
from tests.support.sandbox import TIMEOUT, Sandbox
from tests.support.servers import Served, gunicorn

SECRET_PARAMETERS = {"code", "state", "password", "csrf_token"}
FORM = "application/x-www-form-urlencoded"
FEWEST_CHARACTERS = 16  # a shorter value may be in a page by chance
CSRF_TOKEN = re.compile(r'name="csrf_token" value="([^"]*)"')
#: Headers that may contain a secret, and Date, which is always different.
UNSWEPT_HEADERS = {"Location", "Set-Cookie", "Date"}


class Noted:
    """The secrets that were sent, and the responses that browsers got."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()
        self.shown: set[str] = set()

    def secret(self, *values: str) -> None:
        """Record secrets, which must not appear anywhere."""
        self.secrets.update(value for value in values if len(value) >= FEWEST_CHARACTERS)

    def address(self, url: str) -> None:
        """Record the secrets in a URL that a browser opens."""
        self.form(urlsplit(url).query)

    def form(self, form: Mapping[str, str] | str) -> None:
        """Record the secrets in a form that a browser sends."""
        sent = parse_qsl(form, errors="replace") if isinstance(form, str) else form.items()
        self.secret(*(value for name, value in sent if name in SECRET_PARAMETERS))

    def page(self, page: Page) -> None:
        """Record a response. A form's own CSRF token is the only secret that a page may contain."""
        self.address(page.location or "")
        self.secret(*CSRF_TOKEN.findall(page.text))
        headers = [f"{n}: {v}" for n, v in page.headers.items() if n not in UNSWEPT_HEADERS]
        self.shown |= {CSRF_TOKEN.sub("", page.text), *headers}


def inside(cookie: str) -> dict[str, object]:
    """The secrets in a session cookie."""
    held = opened(cookie) or {}
    return {name: held[name] for name in ("_user_id", "csrf_token") if name in held}


class Jar:
    """A browser over the network, with its own cookies; it follows no redirect."""

    def __init__(self, url: str, noted: Noted) -> None:
        self._url = url
        self._noted = noted
        self._http = requests.Session()
        # A new connection for each request, so that any worker may get it.
        self._http.headers["Connection"] = "close"

    @property
    def cookies(self) -> dict[str, str]:
        """Its cookies, by name."""
        return self._http.cookies.get_dict()

    def keep(self, cookies: Mapping[str, str]) -> None:
        """Replace all its cookies."""
        self._http.cookies.clear()
        for name, value in cookies.items():
            self._http.cookies.set(name, value, domain="localhost.local", path="/")

    def send(
        self,
        method: str,
        url: str,
        form: Mapping[str, str] | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Page:
        """The response to one request. A form that is text is sent unchanged."""
        kind = {"Content-Type": FORM} if isinstance(form, str) else {}
        self._noted.form(form or {})
        self._noted.address(url)
        answer = self._http.request(
            method,
            self._url + url if url.startswith("/") else urljoin(self._url, url),
            data=form,
            headers={**kind, **(headers or {})},
            allow_redirects=False,
            timeout=TIMEOUT,
        )
        for cookie in filter(None, answer.cookies.get_dict().values()):
            self._noted.secret(cookie, *map(str, inside(cookie).values()))
        page = Page(
            answer.status_code, answer.text, answer.headers.get("Location"), dict(answer.headers)
        )
        self._noted.page(page)
        return page

    def close(self) -> None:
        """Close the sockets."""
        self._http.close()


class Rig:
    """The served app and its sandbox. `app` has the same settings, in this process."""

    def __init__(
        self, served: Served, sandbox: Sandbox, environ: dict[str, str], app: Flask
    ) -> None:
        self.served = served
        self.sandbox = sandbox
        self.environ = environ
        self.app = app
        self._noted = Noted()
        self._jars: list[Jar] = []
        self._log_at_start = 0  # of the test, in bytes
        self._log_swept = 0  # in bytes

    def start_again(self) -> None:
        """Reset it: no accounts, no counted tries, no requests at Katana."""
        self._close_jars()
        self._log_at_start = self.served.log_file.stat().st_size
        self.sandbox.reset()
        with self.app.app_context():
            db.session.execute(delete(User))
            db.session.commit()
        self.allow_more_tries()

    def allow_more_tries(self) -> None:
        """Reset every rate limit."""
        with self.app.app_context():
            db.session.execute(delete(RateLimit))
            db.session.commit()

    def jar(self) -> Jar:
        """A new browser."""
        self._jars.append(Jar(self.served.url, self._noted))
        return self._jars[-1]

    def maker(self, name: str = "ada") -> Maker:
        """A user without an account yet, or the same user in another browser."""
        return Maker(self.jar(), self.sandbox, name)

    def copy_of(self, jar: Jar) -> Jar:
        """The browser of an attacker who has copied all cookies."""
        copy = self.jar()
        copy.keep(jar.cookies)
        return copy

    def log(self) -> str:
        """The log since the start of the test."""
        return self._log_from(self._log_at_start)

    def secret(self, *values: str) -> None:
        """Include these in the sweep."""
        self._noted.secret(*values)

    def secrets(self) -> set[str]:
        """The secrets since the last sweep, and those in the settings."""
        self.secret(*(value for name, value in self.environ.items() if "SECRET" in name))
        self.secret(self.environ["TOKEN_ENCRYPTION_KEYS"].partition(":")[2])
        self.secret(*self.sandbox.secrets)
        return self._noted.secrets

    def sweep(self) -> None:
        """Fail if a secret is in the log, in a page, or in a header that must not contain it.

        Then forget what was swept.
        """
        secrets = self.secrets()
        noted, log = self._noted, self._log_from(self._log_swept)
        shown = "\n".join(noted.shown)
        self._noted, self._log_swept = Noted(), self.served.log_file.stat().st_size
        for secret in secrets:
            assert secret not in log, f"in the log stands {_around(secret, log)}"
            assert secret not in shown, f"a browser was shown {_around(secret, shown)}"

    def close(self) -> None:
        """Close the sockets."""
        self._close_jars()
        with self.app.app_context():
            db.engine.dispose()

    def _close_jars(self) -> None:
        for jar in self._jars:
            jar.close()
        self._jars.clear()

    def _log_from(self, start: int) -> str:
        with self.served.log_file.open("rb") as log:
            log.seek(start)
            return log.read().decode(errors="replace")


@contextmanager
def running_rig(
    environ: dict[str, str], listener: socket.socket, sandbox: Sandbox, folder: Path
) -> Iterator[Rig]:
    """The app with these settings, under gunicorn and in this process."""
    app = create_app(environ)
    with gunicorn(environ, listener, folder / "gunicorn.log") as served:
        rig = Rig(served, sandbox, environ, app)
        try:
            yield rig
        finally:
            rig.close()


def _around(secret: str, text: str) -> str:
    at = text.index(secret)
    return repr(f"{text[max(0, at - 80) : at]}***{text[at + len(secret) :][:80]}")
