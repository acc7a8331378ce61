"""What users may ask for: the copy is in the file, and goes with the account."""

import json
import re

import pytest
from flask import Flask
from sqlalchemy import select

from app.connections.models import Connection
from app.database.db import db
from app.sync.outbox import NewOrder
from tests.support.actors import Maker
from tests.support.commands import worker
from tests.support.connected import MakeConnected
from tests.support.copying import work
from tests.support.leaving import counts, leave
from tests.support.sandbox import Sandbox
from tests.support.syncing import Syncing, while_katana_answers
from tests.support.until import until

pytestmark = pytest.mark.accounts

WICK = "tallow-and-wick"


@pytest.mark.both_databases
def test_the_copy_is_in_the_file_and_goes_with_the_account(
    app: Flask, maker: Maker, sandbox: Sandbox
) -> None:
    """Of each table as many rows as there are; then none."""
    sandbox.rules(requests_per_minute=100_000)
    maker.sign_up()
    maker.connect()
    work(app)
    with app.app_context(), db.engine.begin() as database:
        connection_id = database.scalar(select(Connection.id))
        order = NewOrder("SO-NEW", 1, rows=[(1, 2)])
        app.extensions["sync"].outgoing.add(database, connection_id, order)
    alone = counts(app)

    told = json.loads(maker.submit(maker.get("/account"), "/account/download").text)

    rows = {name: len(told[name]) for name in told if isinstance(told[name], list) and told[name]}
    assert rows == alone
    assert {"orders", "order_rows", "customers", "stock_levels", "webhooks", "outbox"} <= set(rows)
    assert told["outbox"][0]["body"]["order_no"] == "SO-NEW"
    assert re.fullmatch(r"[\d.]+", told["orders"][0]["total"])

    form = maker.get("/account/delete")
    maker.submit(form, "/account/delete", password=maker.password)
    assert counts(app) == {}


@pytest.mark.held_time
def test_a_page_that_is_being_read_is_not_stored(
    new_connected: MakeConnected, sandbox: Sandbox
) -> None:
    """The worker finds nothing to store it by."""
    sandbox.rules(requests_per_minute=100_000)
    ada = Syncing(new_connected())
    ada.chunk("sales_orders")

    with while_katana_answers(ada, "sales_orders"):
        leave(ada.connected)

    assert counts(ada.app) == {}


@pytest.mark.slow
@pytest.mark.one_database("postgresql")
def test_a_worker_under_way_recreates_nothing(
    new_connected: MakeConnected, sandbox: Sandbox, environ: dict[str, str]
) -> None:
    """A real one, in the middle of everything that a connect makes due."""
    sandbox.rules(requests_per_minute=100_000, latency_seconds=0.05)
    sandbox.grow("sales_orders", 700, days=30)
    ada, ben = Syncing(new_connected()), new_connected("ben", factory=WICK)
    with worker(environ) as process:
        until(lambda: ada.rows_of_orders() > 0)
        leave(ada.connected)
        copied = Syncing(ben)
        until(lambda: copied.cursor("sales_orders").first_pass_at)
        process.terminate()
        output, _ = process.communicate(timeout=60)

    assert process.returncode == 0, output
    assert "Traceback" not in output
    leave(ben)
    assert counts(ada.app) == {}
