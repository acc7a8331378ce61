"""An app with which all is well, to be made ill."""

from collections.abc import Iterator

import pytest

from app.operations.doctor.environment import CERTIFICATES, PROXIES
from app.settings.parsing import LOOPBACK_HOSTS
from tests.conftest import MakeApp
from tests.support.examined import CALLBACK
from tests.support.servers import serving
from tests.support.wire import answer, answering, wire


@pytest.fixture
def origin(new_app: MakeApp) -> Iterator[str]:
    """Where an app of these settings is served."""
    with serving(new_app(TRUSTED_HOSTS=",".join(LOOPBACK_HOSTS))) as url:
        yield url


@pytest.fixture
def healthy(new_app: MakeApp, origin: str) -> Iterator[MakeApp]:
    """Makes apps with which all is well but for the settings that are given."""
    with wire(answering(answer(b"Approve?"))) as page:  # takes any redirect URI
        given = {
            "KATANA_REDIRECT_URI": origin + CALLBACK,
            "TRUSTED_HOSTS": "",
            "KATANA_AUTHORIZE_URL": f"{page.url}/authorize",
        }
        yield lambda **changed: new_app(**given | changed)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine's own environment names is no finding of a test."""
    for name in (*PROXIES, *map(str.lower, PROXIES), *CERTIFICATES):
        monkeypatch.delenv(name, raising=False)
