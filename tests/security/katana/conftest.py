"""The served app, whose Katana answers as a test tells it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.actors import Maker
from tests.support.hostile_katana import GOOD, RECORDER, Katana
from tests.support.rig import Rig
from tests.support.wire import Wire, wire


@pytest.fixture(scope="module")
def played() -> Katana:
    """What Katana does."""
    return Katana()


@pytest.fixture(scope="module")
def server(played: Katana) -> Iterator[Wire]:
    """Where it does that."""
    with wire(played) as server:
        yield server


@pytest.fixture(scope="module")
def egress(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that names every address which the served app connects to or looks up."""
    return tmp_path_factory.mktemp("egress") / "seen"


@pytest.fixture(scope="module")
def rig_settings(server: Wire, egress: Path) -> dict[str, str]:
    """This Katana, for everything but the consent page; and whom the app talks to is recorded."""
    (egress.parent / "sitecustomize.py").write_text(RECORDER.format(file=str(egress)))
    return {
        "KATANA_ACCESS_TOKEN_URL": f"{server.url}/oauth/token",
        "KATANA_REVOKE_URL": f"{server.url}/oauth/revoke",
        "KATANA_API_BASE_URL": f"{server.url}/v1",
        "PYTHONPATH": str(egress.parent),
    }


@pytest.fixture
def katana(played: Katana, server: Wire) -> Katana:
    """Katana, well behaved until it is told otherwise."""
    played.start_again()
    server.heard.clear()
    return played


@pytest.fixture
def ada(rig: Rig, katana: Katana) -> Maker:
    """A maker who is signed in."""
    rig.secret(GOOD["access_token"], GOOD["refresh_token"])  # type: ignore[arg-type]
    ada = rig.maker("ada")
    ada.sign_up()
    return ada
