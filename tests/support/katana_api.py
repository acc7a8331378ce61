"""Calls each function of Katana's API, with tokens that a test controls."""

import json
from collections.abc import Callable

import pytest

from app.katana.client import KatanaApi
from tests.support.wire import Peer, Wire, answer, answering

FIRST, RENEWED = "canary-access-81", "canary-access-82"


class Tokens:
    """Returns a first token, and another one after a refusal; records the calls."""

    def __init__(self, first: str = FIRST, renewed: str = RENEWED) -> None:
        self.asked: list[str | None] = []
        self._first = first
        self._renewed = renewed

    def __call__(self, refused: str | None = None) -> str:
        self.asked.append(refused)
        return self._renewed if refused == self._first else self._first


def says(katana: Wire, *bodies: object, status: int = 200, **headers: str) -> None:
    """Let Katana send these responses in turn: bytes unchanged, anything else as JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    data = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies]
    katana.script = answering(*(answer(body, status, named) for body in data))


def refuses(*statuses: int) -> Callable[[Peer], object]:
    """Respond with these statuses in turn."""
    return answering(*(answer(b"{}", status) for status in statuses))


READ: dict[str, Callable[[KatanaApi], object]] = {
    "factory": lambda api: api.factory(),
    "sales_orders": lambda api: api.sales_orders(5),
    "customers": lambda api: api.customers([1, 2]),
    "products": lambda api: api.products(5),
    "stock": lambda api: api.stock([1, 2]),
}
reads = pytest.mark.parametrize("read", READ.values(), ids=list(READ))
reads_lists = pytest.mark.parametrize("read", list(READ.values())[1:], ids=list(READ)[1:])
