"""Whether the tables are those of this code, older, or newer."""

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
    """What a database has, beside this code."""

    CURRENT = "current"
    OLDER = "older"  # or none at all
    NEWER = "newer"  # a later version has migrated it: the code before works on during an upgrade


def tables_of(connection: Connection) -> Tables:
    """How the tables compare with the migrations of this code."""
    has = frozenset(MigrationContext.configure(connection).get_current_heads())
    heads, known = _revisions()
    if has == heads:
        return Tables.CURRENT

    return Tables.OLDER if has <= known else Tables.NEWER


@cache
def _revisions() -> tuple[frozenset[str], frozenset[str]]:
    """The newest, and all."""
    scripts = ScriptDirectory(FOLDER)
    return frozenset(scripts.get_heads()), frozenset(s.revision for s in scripts.walk_revisions())
