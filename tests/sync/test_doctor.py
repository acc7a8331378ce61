"""What flask doctor says of the copies: whether a worker runs, and whether webhooks come."""

import json
import socket
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from app import sync
from app.database.clock import SystemClock
from app.database.db import db
from app.sync.models import SyncCursor
from tests.support.actors import Maker
from tests.support.commands import run
from tests.support.sandbox import Sandbox


@pytest.fixture(autouse=True)
def _nothing_is_served(listener: socket.socket) -> None:
    """Doctor need not wait to find out."""
    listener.close()


def doctors_word(app: Flask, check: str) -> dict[str, Any]:
    """The one finding of a check."""
    findings = json.loads(run(app, "doctor", "--json").output)["findings"]
    (found,) = (each for each in findings if each["check"] == check)
    return dict(found)


@pytest.mark.sandbox
def test_connections_without_a_webhook_are_counted_and_it_is_said_why(
    maker: Maker, app: Flask, sandbox: Sandbox
) -> None:
    """They are polled, which works."""
    sandbox.rules(webhooks="role")
    maker.sign_up()
    maker.connect()
    with app.app_context():
        subscriptions = sync.current().subscriptions
        (connection_id,) = subscriptions.due(2)
        subscriptions.check(connection_id)

    told = doctors_word(app, "webhooks")

    assert told["level"] == "warning"
    assert "1 have none" in told["says"]
    assert "role or plan" in told["says"]


@pytest.mark.sandbox
def test_a_worker_that_does_not_run_is_noticed(maker: Maker, app: Flask) -> None:
    """What is due for minutes is read by nobody."""
    maker.sign_up()
    maker.connect()
    assert doctors_word(app, "worker")["level"] == "ok"
    with app.app_context():
        db.session.execute(update(SyncCursor).values(due_at=SystemClock().database_time(-600)))
        db.session.commit()

    told = doctors_word(app, "worker")

    assert told["level"] == "warning"
    assert "10 minutes" in told["says"]
    assert "flask worker" in told["remedy"]
