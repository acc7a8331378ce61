"""Key rotation: encrypt every stored token with the first key, beside live traffic.

Each value is exchanged only where it is still the one that was read: what a refresh saves meanwhile
wins. Stopped anywhere, everything opens as before; begun again, it does what is left. Verifiers of
attempts are not touched: they last for ten minutes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection as DatabaseConnection
from sqlalchemy import CursorResult, Engine, column, update

from app.connections.fleet.sealed_tokens import SealedTokens, SealedValue
from app.connections.models import Connection
from app.connections.vault import Vault
from app.errors import SealBroken


@dataclass(frozen=True)
class Resealed:
    """What was done in one batch."""

    connections: int
    values: int
    #: What does not open, and why. It stays as it is.
    broken: Mapping[UUID, str]


@dataclass(frozen=True)
class _Exchange:
    old: SealedValue
    new: bytes = field(repr=False)


class KeyRotation:
    """Brings all values under the first key."""

    def __init__(self, engine: Engine, tokens: SealedTokens, vault: Vault) -> None:
        self._engine = engine
        self._tokens = tokens
        self._vault = vault

    def run(self) -> Iterator[Resealed]:
        """Re-seal what needs it; tells of each batch when it is committed."""
        for values in self._tokens.batches():
            broken: dict[UUID, str] = {}
            exchanged = 0
            connections = len({value.connection_id for value in values})
            while values:
                exchanges = self._exchanges(values, broken)
                lost = self._commit(exchanges)
                exchanged += len(exchanges) - len(lost)
                values = self._tokens.of(lost)
            yield Resealed(connections, exchanged, broken)

    def _exchanges(
        self, values: Sequence[SealedValue], broken: dict[UUID, str]
    ) -> Sequence[_Exchange]:
        exchanges = []
        for value in values:
            try:
                new = self._vault.reseal(value.sealed, value.place)
            except SealBroken as error:
                broken[value.connection_id] = str(error)
                continue
            if new != value.sealed:
                exchanges.append(_Exchange(value, new))
        return exchanges

    def _commit(self, exchanges: Sequence[_Exchange]) -> Sequence[UUID]:
        """Exchange them in one short transaction; the connections that have moved meanwhile."""
        if not exchanges:
            return []

        with self._engine.begin() as connection:
            return [
                exchange.old.connection_id
                for exchange in exchanges
                if not _took(connection, exchange)
            ]


def _took(connection: DatabaseConnection, exchange: _Exchange) -> bool:
    old = exchange.old
    result: CursorResult[Any] = connection.execute(
        update(Connection)
        .where(Connection.id == old.connection_id, column(old.place.column) == old.sealed)
        .values({old.place.column: exchange.new})
    )
    return result.rowcount == 1
