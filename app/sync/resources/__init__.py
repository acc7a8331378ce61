"""The resources that are read from Katana, one file each."""

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

AHEAD = timedelta(days=1)  # an `updated_at` further in the future must be wrong

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
    """A parsed page: readable records by key, and why the others are not, by name."""

    good: Mapping[Key, Read]
    bad: Mapping[str, str]
    #: The latest `updated_at` of the good ones.
    highest: datetime | None


@dataclass(frozen=True)
class Resource:
    """A list of Katana's API, and the table of its copy."""

    path: str
    model: type[Copied]
    #: Converts a record to a Read, or raises Unreadable.
    read: Callable[[Mapping[str, Any]], Read]
    #: The names of the key's columns, in the order of `Read.key`.
    key: tuple[str, ...] = ("id",)
    #: Whether its records have `updated_at`. If not, the whole list is read each time.
    dated: bool = True
    #: The query parameter that selects records by id.
    by_id: str = "ids"
    query: Mapping[str, str] = field(default_factory=lambda: {"include_deleted": "true"})
    #: The webhook events that make it due.
    events: tuple[str, ...] = ()
    #: The table of the rows within a record, and its column with the record's id.
    parts: tuple[type[Model], str] | None = None

    @property
    def name(self) -> str:
        """Its name in cursors and in the feed."""
        return self.model.resource

    def parse(self, records: Sequence[Any], at: datetime | None) -> Parsed:
        """Parse a page; `at` is Katana's time of the response."""
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
    """The context of a transaction: a resource of a connection, and the pass that reads it."""

    database: Database
    clock: Clock
    connection_id: UUID
    resource: Resource
    #: The number that the pass writes to each row that it reads.
    mark: int
    #: Rows with a lower mark are of an earlier Katana account.
    shown_from: int


def all_resources() -> Mapping[str, Resource]:
    """Every Resource that a file of this folder defines, by name."""
    names = sorted(module.name for module in iter_modules(__path__))
    files = [import_module(f"{__name__}.{name}") for name in names]
    found = [value for file in files for value in vars(file).values()]
    return {resource.name: resource for resource in found if isinstance(resource, Resource)}


def _name_of(record: Any) -> str:
    """Katana's id as text; a hash of the record if it has no usable id."""
    found = record.get("id", record.get("variant_id")) if isinstance(record, dict) else None
    text = str(found) if type(found) in (int, str) else ""
    if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= MOST_ID:
        return str(int(text))

    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
