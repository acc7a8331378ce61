"""A sandbox for each test, and an app in a test's hands."""

from collections.abc import Iterator

import pytest

from tests.support.partner import (
    Partner,
    partner_of_a_sandbox,
)

FACTORY = "alder-and-spoke"


@pytest.fixture
def sandbox_server() -> Iterator[Partner]:
    """A sandbox of its own for each test, served on a free port."""
    with partner_of_a_sandbox() as partner:
        yield partner


@pytest.fixture
def partner() -> Iterator[Partner]:
    """An app that has a client secret, with a sandbox of its own whose clock it moves."""
    with partner_of_a_sandbox() as partner:
        partner.rules(requests_per_minute=10_000, access_token_seconds=86_400)
        yield partner


@pytest.fixture
def bearer(partner) -> dict:
    return {"Authorization": f"Bearer {partner.connect(FACTORY)['access_token']}"}
