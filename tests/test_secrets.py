"""Secrets stay where they belong: in no page, log or cookie, and on disk only sealed."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select
from sqlalchemy.engine import make_url

from app.connections import current, grants
from app.db import db
from app.models import Connection
from tests.actors import Browser, Maker
from tests.callbacks import query
from tests.conftest import MakeApp
from tests.pages import Page
from tests.sandbox import Sandbox
from tests.servers import Served

pytestmark = pytest.mark.one_database


class Watched:
    """A browser that keeps every answer."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.pages: list[Page] = []

    def send(self, method: str, url: str, form: Mapping[str, str] | None = None) -> Page:
        self.pages.append(self._browser.send(method, url, form))
        return self.pages[-1]


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    """The app at its most talkative."""
    return environ | {"LOG_LEVEL": "DEBUG"}


def test_no_secret_shows_up_anywhere(
    served: Served,
    served_maker: Maker,
    sandbox: Sandbox,
    environ: dict[str, str],
    new_app: MakeApp,
) -> None:
    """S-10, S-37, S-38, S-40: through good days and bad, in the log at DEBUG, on pages, on disk."""
    ada, watched = served_maker, Watched(served_maker.browser)
    ada.browser = watched
    secrets = [ada.password, *(environ[name] for name in environ if "SECRET" in name)]
    secrets.append(environ["TOKEN_ENCRYPTION_KEYS"].partition(":")[2])

    ada.sign_up()
    for fault in ("drop_before", "body", "invalid_grant"):
        sandbox.fault("exchange", fault)
        ada.connect()
    answer = sandbox.approve(ada.begin())
    ada.return_with(answer)
    secrets += [query(answer.url)["code"], query(answer.url)["state"]]
    secrets += tokens(new_app)
    sandbox.expire()
    ada.dashboard()
    secrets += tokens(new_app)
    sandbox.expire()
    sandbox.fault("refresh", "body")
    ada.dashboard()
    ada.get("/katana/callback?" + urlsplit(answer.url).query)

    assert len({*secrets}) == 10
    shown = "".join(page.text for page in watched.pages)
    cookies = "".join(page.headers.get("Set-Cookie", "") for page in watched.pages)
    on_disk = b"".join(path.read_bytes() for path in _database_files(environ["DATABASE_URL"]))
    for secret in secrets:
        assert secret not in served.log()
        assert secret not in shown
        assert secret not in cookies
        assert secret.encode() not in on_disk


def tokens(new_app: MakeApp) -> list[str]:
    """The access and the refresh token that are stored, opened."""
    with new_app().app_context():
        row = db.session.scalars(select(Connection)).one()
        vault = current().vault
        return [
            vault.open(row.sealed_access_token, grants.access_place(row.id, row.user_id)),
            vault.open(row.sealed_refresh_token, grants.refresh_place(row.id, row.user_id)),
        ]


def _database_files(url: str) -> list[Path]:
    """The database, its log and its index."""
    name = Path(make_url(url).database or "")
    return list(name.parent.glob(f"{name.name}*"))
