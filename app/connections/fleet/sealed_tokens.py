"""The encrypted tokens of all connections: which keys they need, in batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, LargeBinary, func, select

from app.connections import token_columns
from app.connections.models import Connection
from app.connections.vault import Place, sealed_by
from app.database.engine import single_statements
from app.errors import SealBroken

BATCH = 200
HEADS = 5000  # in a batch where only the key's name is looked at
HEAD_BYTES = 22  # format, length of the name, and a name of up to 20 characters


_WHOLE = (
    Connection.id,
    Connection.user_id,
    Connection.sealed_access_token,
    Connection.sealed_refresh_token,
)
_HEADS_ONLY = (
    Connection.id,
    func.substr(Connection.sealed_access_token, 1, HEAD_BYTES, type_=LargeBinary),
    func.substr(Connection.sealed_refresh_token, 1, HEAD_BYTES, type_=LargeBinary),
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
    """All sealed tokens. No statement reads more than a batch, and none is open in between."""

    def __init__(self, engine: Engine) -> None:
        self._engine = single_statements(engine)

    def count(self) -> int:
        """How many connections there are."""
        with self._engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(Connection)).scalar_one()

    def batches(self) -> Iterator[Sequence[SealedValue]]:
        """All values, those of a connection together."""
        for rows in self._rows(_WHOLE, BATCH):
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
        """Every key that some value needs."""
        found: dict[str | None, tuple[int, UUID]] = {}
        for rows in self._rows(_HEADS_ONLY, HEADS):
            for connection_id, access, refresh in rows:
                for head in (access, refresh):
                    values, example = found.get(kid := _kid(head), (0, connection_id))
                    found[kid] = values + 1, example
        return [KeyInUse(kid, *use) for kid, use in found.items()]

    def _rows(self, columns: tuple[Any, ...], size: int) -> Iterator[Sequence[Any]]:
        following = select(*columns).order_by(Connection.id).limit(size)
        statement = following
        while rows := self._read(statement):
            yield rows
            statement = following.where(Connection.id > rows[-1].id)

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


def _kid(head: bytes) -> str | None:
    try:
        return sealed_by(head)
    except SealBroken:
        return None
