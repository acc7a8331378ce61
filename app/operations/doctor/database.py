"""Checks that the database can do what the refresh protocol needs."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from sqlalchemy import insert, text
from sqlalchemy.exc import SQLAlchemyError

from app.accounts.models import RateLimit
from app.database import poolers
from app.operations.doctor.findings import Examined, Finding, fault, ok, warning
from app.operations.migrations import NEWER, NEWER_REMEDY, Tables, tables_of

MOUNTS = Path("/proc/self/mounts")
NETWORK_DISKS = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "drvfs", "glusterfs", "lustre", "nfs", "nfs4"),
        *("smb3", "smbfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
    }
)


def reachable(examined: Examined) -> Iterator[Finding]:
    """The database responds."""
    try:
        with examined.engine.connect() as connection:
            version = ".".join(map(str, connection.dialect.server_version_info or ()))
    except SQLAlchemyError as error:
        if poolers.refuses_settings(error):
            yield fault("database", poolers.REFUSES, poolers.REMEDY)
            return

        yield fault(
            "database",
            f"It does not answer ({type(error).__name__}).",
            "See whether DATABASE_URL is right, and whether the database runs.",
        )
    else:
        yield ok("database", f"{examined.engine.dialect.name} {version} answers.")


def migrated(examined: Examined) -> Iterator[Finding]:
    """Its tables are at the latest migration of this code."""
    with examined.engine.connect() as connection:
        tables = tables_of(connection)
    if tables is Tables.CURRENT:
        yield ok("migrations", "The tables are those of this code.")
    elif tables is Tables.OLDER:
        yield fault("migrations", "The tables are older than this code.", "Run `flask db upgrade`.")
    else:
        yield fault("migrations", NEWER, NEWER_REMEDY)


def writable(examined: Examined) -> Iterator[Finding]:
    """A row can be written. It is rolled back at once."""
    row = insert(RateLimit).values(key=f"doctor {uuid4()}", hits=0, expires_at=datetime.now(UTC))
    try:
        with examined.engine.connect() as connection:
            connection.execute(row)
            connection.rollback()
    except SQLAlchemyError as error:
        yield fault(
            "writing",
            f"Nothing can be written ({type(error).__name__}): no token could be renewed.",
            "See to the rights of the database's user or of file and folder, to a full disk, and "
            "that this is no read-only replica.",
        )
    else:
        yield ok("writing", "A row can be written.")


def isolation(examined: Examined) -> Iterator[Finding]:
    """Conditional updates see earlier commits, and a committed row stays."""
    if examined.engine.dialect.name == "sqlite":
        yield _sqlite_durability(examined)
        return

    level, durable = (_shown(examined, f"SHOW {name}") for name in _POSTGRES)
    if level != "read committed":
        yield fault(
            "isolation",
            f"Transactions are {level}: whoever waits for another's lease gets an error.",
            "ALTER DATABASE ... SET default_transaction_isolation = 'read committed'",
        )
    elif durable == "off":
        yield warning(
            "isolation",
            "A power cut can undo a commit, and bring back a refresh token that is spent.",
            "ALTER DATABASE ... SET synchronous_commit = on",
        )
    else:
        yield ok("isolation", "Transactions are read committed, and a commit stays.")


def disk(examined: Examined) -> Iterator[Finding]:
    """A SQLite file is on a local disk."""
    if examined.engine.dialect.name != "sqlite":
        return

    file = examined.engine.url.database
    if not file or file == ":memory:":
        yield fault("disk", "The database is in memory only.", "Give DATABASE_URL a file.")
        return

    kind = filesystem(Path(file).resolve(), MOUNTS.read_text() if MOUNTS.exists() else "")
    if kind in NETWORK_DISKS:
        yield fault(
            "disk",
            f"The database lies on a network disk ({kind}), where SQLite's locks do not hold.",
            "Move it to a disk of this machine, or use PostgreSQL.",
        )
    else:
        yield ok("disk", f"The database lies on a disk of this machine{kind and f' ({kind})'}.")


def filesystem(path: Path, mounts: str) -> str:
    """The type of the file system of `path`, from a table in the format of /proc/self/mounts."""
    found, depth = "", -1
    for line in mounts.splitlines():
        _device, mounted, kind, *_options = line.split(" ")
        at = Path(mounted.replace("\\040", " "))
        if path.is_relative_to(at) and len(at.parts) >= depth:
            found, depth = kind, len(at.parts)
    return found


_POSTGRES = ("transaction_isolation", "synchronous_commit")


def _sqlite_durability(examined: Examined) -> Finding:
    if _shown(examined, "PRAGMA journal_mode") != "wal":
        return fault(
            "isolation",
            "The file does not keep a write-ahead log: readers and the writer block each other.",
            "Move it to a disk that allows one.",
        )
    if _shown(examined, "PRAGMA synchronous") != "2":
        return fault(
            "isolation",
            "A power cut can undo a commit, and bring back a refresh token that is spent.",
            "Leave `synchronous` to app/database/engine.py.",
        )
    return ok("isolation", "One writer at a time, and a commit stays.")


def _shown(examined: Examined, statement: str) -> str:
    with examined.engine.connect() as connection:
        return str(connection.execute(text(statement)).scalar_one())
