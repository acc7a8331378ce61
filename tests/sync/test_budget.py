"""The budget: Katana's limit is obeyed by all, before Katana has to say so."""

import pytest
from requests import Response
from sqlalchemy import update

from app import sync
from app.database.db import db
from app.errors import ApiBusy
from app.katana import rate_limit
from app.katana.rate_limit import Allowance
from app.sync.budget import Budget
from app.sync.models import SyncAccount
from tests.support.clocks import HeldClock
from tests.support.connected import Connected, MakeConnected
from tests.support.sandbox import Sandbox
from tests.support.syncing import Syncing

pytestmark = pytest.mark.held_time

DATE = "Fri, 27 Nov 2026 06:00:00 GMT"
DATE_SECONDS = 1795759200


@pytest.fixture
def ada(new_connected: MakeConnected) -> Connected:
    """A connected user."""
    return new_connected()


@pytest.fixture
def budget(ada: Connected) -> Budget:
    """The budget, as one process knows it."""
    parts: sync.Sync = ada.app.extensions["sync"]
    return parts.budget


def take_all(budget: Budget, ada: Connected, *, leave_reserve: bool) -> int:
    """How many requests there are until none is left."""
    taken = 0
    while taken < 1000:
        try:
            budget.take(ada.id, leave_reserve=leave_reserve)
        except ApiBusy:
            return taken
        taken += 1
    raise AssertionError("there is no end")


def test_the_worker_leaves_fifteen_of_sixty(
    ada: Connected, budget: Budget, clock: HeldClock
) -> None:
    """Pages and write-back have them; after a minute there are sixty again."""
    assert take_all(budget, ada, leave_reserve=True) == 45
    assert take_all(budget, ada, leave_reserve=False) == 15
    clock.move(61)
    assert take_all(budget, ada, leave_reserve=False) == 60


def test_what_katana_says_counts(ada: Connected, budget: Budget, clock: HeldClock) -> None:
    """Others use the same limit: what is left, and until when, is for Katana to say."""
    budget.take(ada.id, leave_reserve=True)
    budget.note(ada.id, Allowance(limit=60, remaining=18, seconds=20, pause=0))

    assert take_all(budget, ada, leave_reserve=True) == 3
    with pytest.raises(ApiBusy) as busy:
        budget.take(ada.id, leave_reserve=True)
    assert busy.value.retry_after == pytest.approx(20)
    clock.move(21)
    assert take_all(budget, ada, leave_reserve=True) == 45


def test_an_answer_that_comes_late_gives_nothing_back(ada: Connected, budget: Budget) -> None:
    """Requests under way are taken already, though Katana had not counted them yet."""
    for _ in range(10):
        budget.take(ada.id, leave_reserve=True)
    budget.note(ada.id, Allowance(limit=60, remaining=59, seconds=60, pause=0))

    assert take_all(budget, ada, leave_reserve=True) == 35


@pytest.mark.parametrize("limit", [30, 600])
def test_another_limit_is_another_budget(ada: Connected, budget: Budget, limit: int) -> None:
    """A quarter of it is the reserve."""
    budget.take(ada.id, leave_reserve=True)
    budget.note(ada.id, Allowance(limit=limit, remaining=limit - 1, seconds=60, pause=0))

    left = limit - 1 - limit // 4
    assert take_all(budget, ada, leave_reserve=True) == left


@pytest.mark.both_databases
def test_a_429_stops_everybody_for_as_long_as_katana_asks(
    ada: Connected, budget: Budget, clock: HeldClock
) -> None:
    """Pages too; a new window within that time changes nothing."""
    budget.note(ada.id, Allowance(limit=60, remaining=0, seconds=10, pause=90))

    clock.move(85)
    assert take_all(budget, ada, leave_reserve=False) == 0
    clock.move(16)
    assert take_all(budget, ada, leave_reserve=False) == 60


def test_a_long_list_is_read_without_a_429(
    ada: Connected, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven hundred pages at sixty a minute: the worker stops at its share, and fails nothing."""
    monkeypatch.setattr("app.katana.client.PAGE_SIZE", 1)
    sandbox.rules(requests_per_minute=60)
    syncing = Syncing(ada)
    syncing.run()

    asked = sandbox.ledger().of("api")
    assert [request for request in asked if request.status == 429] == []
    assert len(asked) == 45
    assert syncing.cursor("sales_orders").failure is None
    with ada.app.app_context():
        row = db.session.get(SyncAccount, ada.id)
        assert row
        assert row.budget_left == 15


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({"X-Ratelimit-Reset": f"{(DATE_SECONDS + 30) * 1000}"}, 200, (None, None, 30, 0)),
        ({"X-Ratelimit-Reset": f"{DATE_SECONDS + 30}"}, 200, (None, None, 30, 0)),
        ({"X-Ratelimit-Reset": f"{DATE_SECONDS - 30}"}, 200, (None, None, 0, 0)),
        ({"X-Ratelimit-Reset": "99999999999999999"}, 200, (None, None, 120, 0)),
        ({"X-Ratelimit-Reset": "soon"}, 200, (None, None, 60, 0)),
        ({}, 200, (None, None, 60, 0)),
        ({"X-Ratelimit-Limit": "60", "X-Ratelimit-Remaining": "7"}, 200, (60, 7, 60, 0)),
        ({"X-Ratelimit-Limit": "0", "X-Ratelimit-Remaining": "-7"}, 200, (None, None, 60, 0)),
        ({"X-Ratelimit-Remaining": "9" * 19}, 200, (None, 1_000_000, 60, 0)),
        ({"X-Ratelimit-Remaining": "²"}, 200, (None, None, 60, 0)),
        ({"Retry-After": "15"}, 429, (None, None, 60, 15)),
        ({"Retry-After": "15"}, 200, (None, None, 60, 0)),
        ({}, 429, (None, None, 60, 60)),
    ],
)
@pytest.mark.one_database
def test_the_headers_are_read_as_katana_writes_them_and_as_it_might(
    headers: dict[str, str], status: int, said: tuple[float | None, ...]
) -> None:
    """Seconds or milliseconds, by Katana's own clock; what makes no sense is left out."""
    response = Response()
    response.status_code = status
    response.headers.update({"Date": DATE, **headers})

    read = rate_limit.read(response)

    assert (read.limit, read.remaining, read.seconds, read.pause) == said


@pytest.mark.parametrize("column", ["paused_until", "budget_until"])
def test_a_moment_of_a_wrong_clock_stops_nobody(
    ada: Connected, budget: Budget, clock: HeldClock, column: str
) -> None:
    """13: the database's clock ran a day ahead and was set right; that day is not waited for."""
    with ada.app.app_context():
        ahead = {column: clock.database_time(24 * 3600), "budget_left": 0}
        db.session.execute(update(SyncAccount).values(ahead))
        db.session.commit()
    if column == "paused_until":
        clock.move(61)

    budget.take(ada.id, leave_reserve=True)
