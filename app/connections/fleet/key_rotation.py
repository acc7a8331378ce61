"""Key rotation: which keys the stored tokens need, and encrypting all of them with the first key.

It runs beside live traffic. Each value is replaced only if it is still the one that was read, so a
value that a refresh has saved since then is kept. It can be stopped at any point and started again.
Verifiers of attempts are not re-encrypted: they are valid for ten minutes only.
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
HEADER_BYTES = 2  # the format, and the length of the key's id, which follows

_COLUMNS = (
    Connection.id,
    Connection.user_id,
    Connection.sealed_access_token,
    Connection.sealed_refresh_token,
)


@dataclass(frozen=True)
class SealedValue:
    """One sealed token, with its associated data."""

    connection_id: UUID
    aad: AssociatedData
    sealed: bytes = field(repr=False)

    @property
    def kid(self) -> str | None:
        """The id of its key; None if it is not a sealed value."""
        return _kid(self.sealed)


@dataclass(frozen=True)
class KeyInUse:
    """A key that stored values need; `kid` is None for those that are not sealed values."""

    kid: str | None
    values: int
    #: A connection with such a value.
    example: UUID


class SealedTokens:
    """Reads the sealed tokens of all connections."""

    def __init__(self, engine: Engine) -> None:
        self._engine = single_statements(engine)

    def count(self) -> int:
        """How many connections there are."""
        with self._engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(Connection)).scalar_one()

    def batches(self) -> Iterator[Sequence[SealedValue]]:
        """All values, in batches. The values of one connection are in the same batch."""
        for rows in batches(self._engine, select(*_COLUMNS), (Connection.id,), BATCH):
            yield _values(rows)

    def of_connections(self, ids: Sequence[UUID]) -> Sequence[SealedValue]:
        """The values of the connections with these ids. Deleted connections are left out."""
        return _values(self._read(select(*_COLUMNS).where(Connection.id.in_(ids))))

    def newest_and_oldest(self, size: int) -> Sequence[SealedValue]:
        """The values of `size` connections that were refreshed last, and of `size` longest ago."""
        refreshed_at = Connection.refreshed_at
        rows = [
            row
            for order in (refreshed_at.desc(), refreshed_at)
            for row in self._read(select(*_COLUMNS).order_by(order).limit(size))
        ]
        return _values(rows)

    def keys_in_use(self) -> Sequence[KeyInUse]:
        """Every key that a value needs. Counted by the database: the app does not load all rows."""
        found: dict[str | None, tuple[int, UUID]] = {}
        for column in (Connection.sealed_access_token, Connection.sealed_refresh_token):
            start = _prefix(column, HEADER_BYTES)
            for (header,) in self._read(select(start).distinct()):
                kid_bytes = header[-1] if len(header) == HEADER_BYTES else 0
                prefix = _prefix(column, HEADER_BYTES + kid_bytes)
                example = func.min(cast(Connection.id, String))
                counted = (
                    select(prefix, func.count(), example).where(start == header).group_by(prefix)
                )
                for value, number, connection_id in self._read(counted):
                    values, one = found.get(kid := _kid(value), (0, UUID(connection_id)))
                    found[kid] = values + number, one
        return [KeyInUse(kid, *use) for kid, use in found.items()]

    def _read(self, statement: Any) -> Sequence[Any]:
        with self._engine.connect() as connection:
            return connection.execute(statement).all()


@dataclass(frozen=True)
class Resealed:
    """The result of one batch."""

    connections: int
    values: int
    #: Connections with a value that cannot be decrypted, and why. It is left unchanged.
    broken: Mapping[UUID, str]


@dataclass(frozen=True)
class _Replacement:
    old: SealedValue
    new: bytes = field(repr=False)


class KeyRotation:
    """Encrypts all stored tokens with the first key."""

    def __init__(self, engine: Engine, tokens: SealedTokens, vault: Vault) -> None:
        self._engine = engine
        self._tokens = tokens
        self._vault = vault

    def run(self) -> Iterator[Resealed]:
        """Encrypt every value that has another key; yields each batch after its commit."""
        for values in self._tokens.batches():
            broken: dict[UUID, str] = {}
            replaced = 0
            connections = len({value.connection_id for value in values})
            while values:
                replacements = self._replacements(values, broken)
                changed = self._commit(replacements)
                replaced += len(replacements) - len(changed)
                values = self._tokens.of_connections(changed)
            yield Resealed(connections, replaced, broken)

    def _replacements(
        self, values: Sequence[SealedValue], broken: dict[UUID, str]
    ) -> Sequence[_Replacement]:
        replacements = []
        for value in values:
            try:
                new = self._vault.reseal(value.sealed, value.aad)
            except SealBroken as error:
                broken[value.connection_id] = str(error)
                continue
            if new != value.sealed:
                replacements.append(_Replacement(value, new))
        return replacements

    def _commit(self, replacements: Sequence[_Replacement]) -> Sequence[UUID]:
        """Write all in one transaction; returns the connections whose value has changed since."""
        if not replacements:
            return []

        with self._engine.begin() as connection:
            return [
                replacement.old.connection_id
                for replacement in replacements
                if not _replace(connection, replacement)
            ]


def _replace(connection: DatabaseConnection, replacement: _Replacement) -> bool:
    old = replacement.old
    result: CursorResult[Any] = connection.execute(
        update(Connection)
        .where(Connection.id == old.connection_id, literal_column(old.aad.column) == old.sealed)
        .values({old.aad.column: replacement.new})
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


def _prefix(column: InstrumentedAttribute[bytes], number: int) -> ColumnElement[bytes]:
    return func.substr(column, 1, number, type_=LargeBinary)


def _kid(prefix: bytes) -> str | None:
    try:
        return sealed_by(prefix)
    except SealBroken:
        return None
