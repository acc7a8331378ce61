"""What the tests of a refresh have in common."""

import pytest

from tests.support.connected import Connected, Parts


@pytest.fixture
def parts(connected: Connected) -> Parts:
    """The real parts, on the test's clock."""
    return connected.parts()
