"""Katana's login and API as a test's own server, and what asks them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from app.katana.client import KatanaApi, new_session
from app.katana.oauth import (
    KatanaLogin,
)
from tests.support.katana_api import Tokens
from tests.support.login import settings
from tests.support.wire import Wire, answer, answering, wire


@pytest.fixture(scope="module")
def katana() -> Iterator[Wire]:
    """Katana's login, which answers as it is told to."""
    with wire(answering(answer())) as server:
        yield server


@pytest.fixture
def login(katana: Wire) -> KatanaLogin:
    """What asks it."""
    katana.heard.clear()
    return KatanaLogin(settings(katana))


@pytest.fixture
def tokens() -> Tokens:
    """What gives access tokens."""
    return Tokens()


@pytest.fixture
def api(katana: Wire, tokens: Tokens) -> Iterator[KatanaApi]:
    """What asks it."""
    katana.heard.clear()
    with new_session() as session:
        yield KatanaApi(f"{katana.url}/v1", session, tokens)
        katana.hang_up()


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, Path]:
    """A certificate authority, and its certificate in a file."""
    authority, path = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return authority, path
