"""Whatever happens, then quiet: the copy equals Katana's truth, and so does the feed, replayed.

A round: orders, customers and stock change, Katana fails and says 429, tokens expire, the user
reconnects, workers stop where they are, hints are lost. The seed is printed; SYNC_SEED repeats it.
"""

import os
import random

import pytest
from flask import Flask

from app.database.db import db
from app.operations.worker import jobs
from app.sync.models import SyncAccount, SyncCursor
from tests.support.connected import MakeConnected
from tests.support.sandbox import Sandbox
from tests.support.syncing import Syncing
from tests.support.until import until
from tests.sync.test_worker import working

STEPS = 25
HAPPENINGS = [
    *("new_order", "change_order", "ship_order", "delete_order", "stock_moves"),
    *("new_customer", "busy_day"),
]
FAULTS = [
    {"fault": "status", "status": 500},
    {"fault": "status", "status": 429, "retry_after": "1"},
    {"fault": "status", "status": 401},
    {"fault": "lose_answer"},
    {"fault": "drop_before"},
    {"fault": "body", "text": "<html>"},
]


def step(dice: random.Random, ada: Syncing, sandbox: Sandbox) -> None:
    """Let one thing happen."""
    match dice.randrange(10):
        case 0 | 1 | 2 | 3:
            sandbox.happen(dice.choice(HAPPENINGS), after_lists=dice.choice((0, 0, 1, 2)))
        case 4 | 5 | 6:
            ada.parts.hints.hint(ada.connected.id, dice.choice(list(ada.parts.resources)))
        case 7:
            sandbox.fault("api", times=dice.randrange(1, 4), **dice.choice(FAULTS))
        case 8:
            ada.connected.expire()
        case 9 if dice.random() < 0.4:
            ada.connected.reconnect(factory=dice.choice(("alder-and-spoke", "tallow-and-wick")))


def calm(ada: Syncing, sandbox: Sandbox) -> None:
    """No more faults, and everything is due again, as after the longest back-off."""
    sandbox.clear_faults()
    with ada.app.app_context():
        db.session.execute(db.update(SyncCursor).values(next_attempt_at=None))
        db.session.execute(db.update(SyncAccount).values(paused_until=None))
        db.session.commit()
    ada.parts.hints.hint(ada.connected.id)


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(6))
def test_after_all_that_may_happen_the_copy_is_the_truth(
    app: Flask,
    new_connected: MakeConnected,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    round_: int,
) -> None:
    """Lists of one page and of several, two workers that stop and begin, on both databases."""
    seed = int(os.environ.get("SYNC_SEED", random.SystemRandom().randrange(10**9))) + round_
    print(f"SYNC_SEED={seed - round_} (round {round_})")
    dice = random.Random(seed)
    monkeypatch.setattr("app.katana.client.PAGE_SIZE", dice.choice((10, 25, 250)))
    sandbox.rules(requests_per_minute=100_000, list_order=dice.choice(("created_at", "updated_at")))
    ada = Syncing(new_connected())
    with app.app_context():
        table = [job for job in jobs() if job.name == "sync"]
    for _ in range(3):
        with working(app, table), working(app, table):
            for _ in range(STEPS):
                step(dice, ada, sandbox)
    with working(app, table), working(app, table):

        def is_in_step() -> bool:
            calm(ada, sandbox)
            return ada.is_in_step()

        until(is_in_step, seconds=60)
    until(lambda: not ada.run(), seconds=60)
    ada.assert_in_step()
