"""A user with a browser, whose Katana was read."""

import pytest
from flask import Flask

from tests.support.actors import Maker
from tests.support.copying import work
from tests.support.sandbox import Sandbox


@pytest.fixture
def ada(maker: Maker, sandbox: Sandbox) -> Maker:
    """A maker whose Katana is connected, of whom nothing was read yet."""
    sandbox.rules(requests_per_minute=100_000)
    maker.sign_up()
    maker.connect()
    return maker


@pytest.fixture
def copied(app: Flask, ada: Maker) -> Maker:
    """A maker whose orders and stock were read."""
    work(app)
    return ada
