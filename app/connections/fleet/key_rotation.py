"""Key rotation: which keys the stored tokens need, and encryption of all with the first key.

It runs beside live traffic. Each value is exchanged only if it is still the one that was read, so
what a refresh saves meanwhile stays. Stopped anywhere, everything opens as before; started again,
it does the rest. Verifiers of attempts are left as they are: they last for ten minutes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Engine,
    LargeBinary,
    String,
    cast,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy import Connection as DatabaseConnection
from sqlalchemy.orm import InstrumentedAttribute

from app.connections.models import Connection
from app.connections.sealed_grant import access_token_aad, refresh_token_aad
from app.connections.vault import AssociatedData, Vault, sealed_by
from app.database.engine import batches, single_statements
from app.errors import SealBroken

BATCH = 200
START_BYTES = 2  # format and length of the key's name, which follows

_WHOLE = (
    Connection.id,
    Connection.user_id,
    Connection.sealed_access_token,
    Connection.sealed_refresh_token,
)


@dataclass(frozen=True)
class SealedValue:
    """One sealed token, and where it belongs."""

    connection_id: UUID
    aad: AssociatedData
    sealed: bytes = field(repr=False)

    @property
    def kid(self) -> str | None:
        """The key that it needs; None where nothing here has sealed it."""
        return _kid(self.sealed)


@dataclass(frozen=True)
class KeyInUse:
    """A key that stored values need; `kid` is None for values that nothing here has sealed."""

    kid: str | None
    values: int
    #: A connection that has such a value.
    example: UUID


class SealedTokens:
    """All sealed tokens."""

    def __init__(self, engine: Engine) -> None:
        self._engine = single_statements(engine)

    def count(self) -> int:
        """How many connections there are."""
        with self._engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(Connection)).scalar_one()

    def batches(self) -> Iterator[Sequence[SealedValue]]:
        """All values, those of a connection together."""
        for rows in batches(self._engine, select(*_WHOLE), (Connection.id,), BATCH):
            yield _values(rows)

    def of(self, ids: Sequence[UUID]) -> Sequence[SealedValue]:
        """The values of these connections, as far as they still exist."""
        return _values(self._read(select(*_WHOLE).where(Connection.id.in_(ids))))

    def at_both_ends(self, size: int) -> Sequence[SealedValue]:
        """The values of as many connections that were renewed last, and longest ago."""
        renewed = Connection.refreshed_at
        rows = [
            row
            for order in (renewed.desc(), renewed)
            for row in self._read(select(*_WHOLE).order_by(order).limit(size))
        ]
        return _values(rows)

    def keys_in_use(self) -> Sequence[KeyInUse]:
        """Every key that some value needs. The database counts: it sends no row of each value."""
        found: dict[str | None, tuple[int, UUID]] = {}
        for column in (Connection.sealed_access_token, Connection.sealed_refresh_token):
            start = _first(column, START_BYTES)
            for (begins,) in self._read(select(start).distinct()):
                name_bytes = begins[-1] if len(begins) == START_BYTES else 0
                head = _first(column, START_BYTES + name_bytes)
                example = func.min(cast(Connection.id, String))
                counted = select(head, func.count(), example).where(start == begins).group_by(head)
                for value, number, connection_id in self._read(counted):
                    values, one = found.get(kid := _kid(value), (0, UUID(connection_id)))
                    found[kid] = values + number, one
        return [KeyInUse(kid, *use) for kid, use in found.items()]

    def _read(self, statement: Any) -> Sequence[Any]:
        with self._engine.connect() as connection:
            return connection.execute(statement).all()


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
                new = self._vault.reseal(value.sealed, value.aad)
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
        .where(Connection.id == old.connection_id, literal_column(old.aad.column) == old.sealed)
        .values({old.aad.column: exchange.new})
    )
    return result.rowcount == 1


def _values(rows: Sequence[Any]) -> Sequence[SealedValue]:
    return [
        value
        for connection_id, user_id, access, refresh in rows
        for value in (
            SealedValue(connection_id, access_token_aad(connection_id, user_id), access),
            SealedValue(connection_id, refresh_token_aad(connection_id, user_id), refresh),
        )
    ]


def _first(column: InstrumentedAttribute[bytes], number: int) -> ColumnElement[bytes]:
    return func.substr(column, 1, number, type_=LargeBinary)


def _kid(head: bytes) -> str | None:
    try:
        return sealed_by(head)
    except SealBroken:
        return None
