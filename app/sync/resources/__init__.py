"""What is read from Katana: one file for each resource."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Any
from uuid import UUID

from app.database.db import Model
from app.sync.copy import Copied


@dataclass(frozen=True)
class Owner:
    """Whose rows a page writes: a resource of a connection, as one pass reads it."""

    connection_id: UUID
    resource: str
    #: The number that the rows bear which the pass meets.
    mark: int
    #: Rows below this one are of the Katana account before this one.
    shown_from: int


@dataclass(frozen=True)
class Read:
    """One record of Katana's as columns of the copy."""

    key: tuple[int, ...]
    columns: Mapping[str, Any]
    #: The rows of `Resource.parts` that belong to it.
    parts: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Resource:
    """A list of Katana's and the table that holds the copy of it."""

    path: str
    model: type[Copied]
    #: Makes a Read of a record, or raises Unreadable.
    read: Callable[[Mapping[str, Any]], Read]
    #: The names of the key's columns, in the order of `Read.key`.
    key: tuple[str, ...] = ("id",)
    #: Whether its records bear `updated_at`, by which it is then read; else it is read whole.
    dated: bool = True
    #: The filter that names single records.
    by_id: str = "ids"
    query: Mapping[str, str] = field(default_factory=lambda: {"include_deleted": "true"})
    #: The events of Katana's webhooks after which it is to be read.
    events: tuple[str, ...] = ()
    #: A table of what a record holds, and its column that names the record.
    parts: tuple[type[Model], str] | None = None

    @property
    def name(self) -> str:
        """What cursors and the feed call it."""
        return self.model.resource


def all_resources() -> Mapping[str, Resource]:
    """Every Resource that a file of this folder defines, by name."""
    names = sorted(module.name for module in iter_modules(__path__))
    files = [import_module(f"{__name__}.{name}") for name in names]
    found = [value for file in files for value in vars(file).values()]
    return {resource.name: resource for resource in found if isinstance(resource, Resource)}
