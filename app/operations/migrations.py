"""Compares the tables of the database with the migrations of this code."""

from enum import Enum
from functools import cache

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from app.settings.config import ROOT

FOLDER = str(ROOT / "migrations")
NEWER = "The tables are newer than this code."
NEWER_REMEDY = "Run the code that made them, or restore a backup from before."


class Tables(Enum):
    """The version of the tables, relative to this code."""

    CURRENT = "current"
    OLDER = "older"  # or none at all
    NEWER = "newer"  # migrated by a later version; during an upgrade the old code continues to work


def tables_of(connection: Connection) -> Tables:
    """How the tables compare with the migrations of this code."""
    has = frozenset(MigrationContext.configure(connection).get_current_heads())
    heads, known = _revisions()
    if has == heads:
        return Tables.CURRENT

    return Tables.OLDER if has <= known else Tables.NEWER


@cache
def _revisions() -> tuple[frozenset[str], frozenset[str]]:
    """The ids of the newest migrations, and of all migrations."""
    scripts = ScriptDirectory(FOLDER)
    return frozenset(scripts.get_heads()), frozenset(s.revision for s in scripts.walk_revisions())
