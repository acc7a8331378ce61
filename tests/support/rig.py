"""The rig of the security tests: the app under gunicorn, Katana on another site, jars of cookies.

It is shared by many tests; each finds it as if it were new. Every secret is noted as it
passes by, whether in a form, a cookie, an address or at Katana's token endpoint. In the end none of
them may stand in the log, which is at DEBUG, or in what a browser was shown.
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
FEWEST_CHARACTERS = 16  # what is shorter stands in a page by chance
CSRF_TOKEN = re.compile(r'name="csrf_token" value="([^"]*)"')
#: Where a secret belongs, and where a second says nothing.
UNSWEPT_HEADERS = {"Location", "Set-Cookie", "Date"}


class Noted:
    """The secrets that passed by, and what browsers were shown."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()
        self.shown: set[str] = set()

    def secret(self, *values: str) -> None:
        """From now on these must not show up anywhere."""
        self.secrets.update(value for value in values if len(value) >= FEWEST_CHARACTERS)

    def address(self, url: str) -> None:
        """What is secret in an address that a browser goes to."""
        self.form(urlsplit(url).query)

    def form(self, form: Mapping[str, str] | str) -> None:
        """What is secret in what a browser sends."""
        sent = parse_qsl(form, errors="replace") if isinstance(form, str) else form.items()
        self.secret(*(value for name, value in sent if name in SECRET_PARAMETERS))

    def page(self, page: Page) -> None:
        """What came back; a form's own token is the one secret that a page may hold."""
        self.address(page.location or "")
        self.secret(*CSRF_TOKEN.findall(page.text))
        headers = [f"{n}: {v}" for n, v in page.headers.items() if n not in UNSWEPT_HEADERS]
        self.shown |= {CSRF_TOKEN.sub("", page.text), *headers}


def inside(cookie: str) -> dict[str, object]:
    """What is secret in a session cookie."""
    held = opened(cookie) or {}
    return {name: held[name] for name in ("_user_id", "csrf_token") if name in held}


class Jar:
    """A browser over the network, with its own cookies; it follows nothing by itself."""

    def __init__(self, url: str, noted: Noted) -> None:
        self._url = url
        self._noted = noted
        self._http = requests.Session()
        # Each request a connection of its own, so that either worker may get it.
        self._http.headers["Connection"] = "close"

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that it sends."""
        return self._http.cookies.get_dict()

    def keep(self, cookies: Mapping[str, str]) -> None:
        """Have these cookies, and no others."""
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
        """What came back for one request. A form that is text is sent as it is."""
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
        """Let go of the sockets."""
        self._http.close()


class Rig:
    """The served app and its sandbox. `app` is one of the same settings in this process."""

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
        """Nobody has an account, nothing was tried too often, and Katana has seen nothing."""
        self._close_jars()
        self._log_at_start = self.served.log_file.stat().st_size
        self.sandbox.reset()
        with self.app.app_context():
            db.session.execute(delete(User))
            db.session.commit()
        self.allow_more_tries()

    def allow_more_tries(self) -> None:
        """Let every limit on tries begin anew."""
        with self.app.app_context():
            db.session.execute(delete(RateLimit))
            db.session.commit()

    def jar(self) -> Jar:
        """A browser that nobody has used yet."""
        self._jars.append(Jar(self.served.url, self._noted))
        return self._jars[-1]

    def maker(self, name: str = "ada") -> Maker:
        """A user who has no account yet, or the same one at another browser."""
        return Maker(self.jar(), self.sandbox, name)

    def copy_of(self, jar: Jar) -> Jar:
        """A browser of somebody who got hold of all its cookies."""
        copy = self.jar()
        copy.keep(jar.cookies)
        return copy

    def log(self) -> str:
        """What was logged since the test began."""
        return self._log_from(self._log_at_start)

    def secret(self, *values: str) -> None:
        """Sweep for these as well."""
        self._noted.secret(*values)

    def secrets(self) -> set[str]:
        """Those that passed by since the last sweep, and those in the settings."""
        self.secret(*(value for name, value in self.environ.items() if "SECRET" in name))
        self.secret(self.environ["TOKEN_ENCRYPTION_KEYS"].partition(":")[2])
        self.secret(*self.sandbox.secrets)
        return self._noted.secrets

    def sweep(self) -> None:
        """Fail where a secret stands in the log, in a page or in a header not meant for it.

        What was swept is forgotten.
        """
        secrets = self.secrets()
        noted, log = self._noted, self._log_from(self._log_swept)
        shown = "\n".join(noted.shown)
        self._noted, self._log_swept = Noted(), self.served.log_file.stat().st_size
        for secret in secrets:
            assert secret not in log, f"in the log stands {_around(secret, log)}"
            assert secret not in shown, f"a browser was shown {_around(secret, shown)}"

    def close(self) -> None:
        """Let go of the sockets."""
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
