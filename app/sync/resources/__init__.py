"""What is read from Katana: one file for each resource."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import import_module
from pkgutil import iter_modules
from typing import Any
from uuid import UUID

from sqlalchemy import Connection as Database

from app.database.clock import Clock
from app.database.db import Model
from app.katana.fields import MOST_ID, Unreadable
from app.sync.copy import Copied

AHEAD = timedelta(days=1)  # a record from further in the future cannot be right

Key = tuple[int, ...]


@dataclass(frozen=True)
class Read:
    """One record of Katana's as columns of the copy."""

    key: Key
    columns: Mapping[str, Any]
    #: The rows of `Resource.parts` that belong to it.
    parts: Sequence[Mapping[str, Any]] = ()

    @property
    def is_gone(self) -> bool:
        """Whether it is deleted at Katana."""
        return self.columns.get("deleted_at") is not None


@dataclass(frozen=True)
class Parsed:
    """A page: what can be stored, by key; what cannot, by name, with the reason."""

    good: Mapping[Key, Read]
    bad: Mapping[str, str]
    #: The latest `updated_at` of the good ones.
    highest: datetime | None


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

    def parse(self, records: Sequence[Any], at: datetime | None) -> Parsed:
        """What Katana answered at its moment `at`."""
        good: dict[Key, Read] = {}
        bad: dict[str, str] = {}
        for record in records:
            try:
                if not isinstance(record, dict):
                    raise Unreadable("it is no object")
                read = self.read(record)
                if self.dated and at and read.columns["updated_at"] > at + AHEAD:
                    raise Unreadable("updated_at lies in the future")
                good[read.key] = read
            except Unreadable as error:
                bad[_name_of(record)] = str(error)
        dates = (read.columns["updated_at"] for read in good.values() if self.dated)
        return Parsed(good, bad, max(dates, default=None))


@dataclass(frozen=True)
class Scope:
    """What a transaction works on: a resource of a connection, as one pass reads it."""

    database: Database
    clock: Clock
    connection_id: UUID
    resource: Resource
    #: The number that the rows bear which the pass meets.
    mark: int
    #: Rows below this one are of the Katana account before this one.
    shown_from: int


def all_resources() -> Mapping[str, Resource]:
    """Every Resource that a file of this folder defines, by name."""
    names = sorted(module.name for module in iter_modules(__path__))
    files = [import_module(f"{__name__}.{name}") for name in names]
    found = [value for file in files for value in vars(file).values()]
    return {resource.name: resource for resource in found if isinstance(resource, Resource)}


def _name_of(record: Any) -> str:
    """Katana's id as text; a hash of the record where it has none that can be used."""
    found = record.get("id", record.get("variant_id")) if isinstance(record, dict) else None
    text = str(found) if type(found) in (int, str) else ""
    if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= MOST_ID:
        return str(int(text))

    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
