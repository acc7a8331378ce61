"""The part of the dashboard that shows the copy."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.connections.models import Connection
from app.pages.copy.freshness import State, state
from app.pages.copy.orders import OrderLine, latest
from app.pages.copy.stock import Stock, stock

ORDERS, STOCK_LINES = 8, 8


@dataclass(frozen=True)
class Copied:
    """The latest orders and the stock that runs short, with the age of each."""

    state: State
    orders: Sequence[OrderLine] = ()
    stock: Stock | None = None

    @property
    def has_begun(self) -> bool:
        """Whether there is a copy; else no worker has begun to read the account."""
        return self.state.has_begun


def overview(connection: Connection) -> Copied:
    """The part of the dashboard that shows the copy of `connection`."""
    connection_id = connection.id
    found = state(connection)
    if not found.has_begun:
        return Copied(found)

    return Copied(found, latest(connection_id, ORDERS), stock(connection_id, limit=STOCK_LINES))
