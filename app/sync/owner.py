"""Whose rows a page writes."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class Owner:
    """A resource of a connection, as one pass reads it."""

    connection_id: UUID
    resource: str
    #: The number that the rows bear which the pass meets.
    mark: int
    #: Rows below this one are of the Katana account before this one.
    shown_from: int
