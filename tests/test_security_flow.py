"""The way to Katana and back, attacked from outside: S-01 to S-24, each test named by its item.

Everything here is over HTTP, against two workers; `tests/rig.py` tells how.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.actors import Maker
from tests.callbacks import query
from tests.rig import Rig

ALDER = "Alder &amp; Spoke Bicycles"
AT_ONCE = 20


@pytest.fixture
def ada(rig: Rig) -> Maker:
    """A maker who is signed in."""
    ada = rig.maker("ada")
    ada.sign_up()
    return ada


def exchanges(rig: Rig) -> int:
    """How many codes the app has sent to Katana."""
    return len(rig.sandbox.ledger().of("exchange"))


def test_s04_a_state_is_consumed_once_under_twenty_parallel_callbacks(rig: Rig, ada: Maker) -> None:
    """S-04: of twenty callbacks over two workers one asks Katana; the others are told kindly."""
    answer = rig.sandbox.approve(ada.begin())
    tabs = [rig.copy_of(ada.browser) for _ in range(AT_ONCE)]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        pages = list(pool.map(lambda tab: tab.send("GET", answer.url), tabs))

    assert exchanges(rig) == 1
    assert {page.status for page in pages} <= {303, 400}
    assert ALDER in ada.dashboard().text


def test_s02_another_browser_cannot_finish_what_this_one_began(rig: Rig, ada: Maker) -> None:
    """S-02: neither the same user elsewhere nor a stranger; and Katana is not asked."""
    elsewhere = rig.maker("ada")
    elsewhere.sign_in()
    answer = rig.sandbox.approve(ada.begin())

    assert elsewhere.return_with(answer).status == 400
    assert rig.jar().send("GET", answer.url).status == 401

    assert exchanges(rig) == 0
    assert query(answer.url).keys() == {"code", "state"}
