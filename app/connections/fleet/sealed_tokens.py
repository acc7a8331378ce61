"""The encrypted tokens of all connections: which keys they need, in batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, LargeBinary, String, cast, func, select
from sqlalchemy.orm import InstrumentedAttribute

from app.connections import token_columns
from app.connections.models import Connection
from app.connections.vault import Place, sealed_by
from app.database.engine import single_statements
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
    place: Place
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
    """All sealed tokens. No statement returns more than a batch, and none is open in between."""

    def __init__(self, engine: Engine) -> None:
        self._engine = single_statements(engine)

    def count(self) -> int:
        """How many connections there are."""
        with self._engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(Connection)).scalar_one()

    def batches(self) -> Iterator[Sequence[SealedValue]]:
        """All values, those of a connection together."""
        following = select(*_WHOLE).order_by(Connection.id).limit(BATCH)
        statement = following
        while rows := self._read(statement):
            yield _values(rows)
            statement = following.where(Connection.id > rows[-1].id)

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


def _values(rows: Sequence[Any]) -> Sequence[SealedValue]:
    return [
        value
        for connection_id, user_id, access, refresh in rows
        for value in (
            SealedValue(connection_id, token_columns.access_place(connection_id, user_id), access),
            SealedValue(
                connection_id, token_columns.refresh_place(connection_id, user_id), refresh
            ),
        )
    ]


def _first(column: InstrumentedAttribute[bytes], number: int) -> ColumnElement[bytes]:
    return func.substr(column, 1, number, type_=LargeBinary)


def _kid(head: bytes) -> str | None:
    try:
        return sealed_by(head)
    except SealBroken:
        return None
