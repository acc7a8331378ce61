"""A worker whose clock is ten minutes wrong (R-8): it does no harm, to a grant or to a session."""

import time
from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import update

from app.connections.models import Connection
from app.database.clock import SystemClock
from app.database.db import db
from tests.support.actors import LIVE, Maker
from tests.support.sandbox import Sandbox

TWENTY_MINUTES = 1200  # seconds; a token that is refused at this age is renewed at once
SetClock = Callable[[float], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Sets the machine's clock, as Python reads it, so many seconds wrong."""
    right = time.time
    return lambda seconds: monkeypatch.setattr(time, "time", lambda: right() + seconds)


@pytest.mark.slow
@pytest.mark.short_form(1)
@pytest.mark.one_database
@pytest.mark.parametrize("wrong", [-600.0, pytest.param(600.0, marks=pytest.mark.slow)])
def test_workers_need_not_agree_on_the_time(
    maker: Maker, app: Flask, sandbox: Sandbox, set_clock: SetClock, wrong: float
) -> None:
    """Requests go to a wrong worker and a right one in turn: one session, one grant, both live."""
    set_clock(wrong)
    maker.sign_up()
    maker.connect()
    for refreshes, seconds in enumerate((0, wrong, 0, wrong), start=1):
        set_clock(seconds)
        sandbox.expire()
        _age_token(app)  # or its refusal would not be put down to its age

        assert LIVE in maker.dashboard().text
        assert LIVE in maker.dashboard().text
        assert len(sandbox.ledger().of("refresh")) == refreshes
    assert [family.state for family in sandbox.ledger().families] == ["live"]


def _age_token(app: Flask) -> None:
    with app.app_context():
        older = SystemClock().database_time(-TWENTY_MINUTES)
        db.session.execute(update(Connection).values(refreshed_at=older))
        db.session.commit()


@pytest.mark.one_database
@pytest.mark.parametrize("wrong", [-600.0, 600.0])
def test_a_living_token_is_alive_for_all(
    maker: Maker, sandbox: Sandbox, set_clock: SetClock, wrong: float
) -> None:
    """What a right worker has stored a wrong one does not renew early, nor the other way round."""
    sandbox.rules(access_token_seconds=300)
    maker.sign_up()
    maker.connect()
    set_clock(wrong)
    assert LIVE in maker.dashboard().text
    assert not sandbox.ledger().of("refresh")

    sandbox.expire()
    maker.dashboard()
    set_clock(0)

    assert LIVE in maker.dashboard().text
    assert len(sandbox.ledger().of("refresh")) == 1
