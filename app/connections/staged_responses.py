"""Staged responses: token responses that the database did not accept, in encrypted files.

A token response is the only copy of the next refresh token. If the first save fails, it is written
to a file in the instance folder, encrypted as in its row. The file is deleted when the row has the
tokens. So the response survives a crash of its process. The next start, the keep-alive and a caller
that takes over the expired lease store it, by the same compare-and-swap as the save itself.
"""

import base64
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from sqlalchemy import make_url

from app.connections.host import UserId, user_id_for_json, user_id_from
from app.connections.leases import Lease
from app.connections.sealed_grant import SealedGrant, access_token_aad, refresh_token_aad
from app.connections.vault import Vault
from app.katana.oauth import DEFAULT_LIFETIME_SECONDS, Grant

FOLDER = "unsaved"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StagedResponse:
    """The content of one file. The access token counts as expired, because its age is not known."""

    path: Path
    connection_id: UUID
    user_id: UserId
    generation: int
    owner: str
    fence: int
    sealed_access_token: bytes | None = field(repr=False)
    sealed_refresh_token: bytes | None = field(repr=False)
    scope: str | None

    def opened(self, vault: Vault) -> Grant:
        """The decrypted grant. Raises SealBroken if its tokens are not of this connection."""
        ids = (self.connection_id, self.user_id)
        access, refresh = self.sealed_access_token, self.sealed_refresh_token
        return Grant(
            access_token=vault.open(access, access_token_aad(*ids)) if access else None,
            refresh_token=vault.open(refresh, refresh_token_aad(*ids)) if refresh else None,
            expires_in=DEFAULT_LIFETIME_SECONDS,
            scope=self.scope,
        )

    def lease(self, claimed: float) -> Lease:
        """The lease under which the request was sent. It has most likely expired."""
        unknown = datetime(1970, 1, 1, tzinfo=UTC)
        return Lease(
            connection_id=self.connection_id,
            user_id=self.user_id,
            generation=self.generation,
            owner=self.owner,
            claimed=claimed,
            took_over=False,
            fence=self.fence,
            sealed_refresh_token=b"",
            refused_at=None,
            doubtful_since=unknown,
            failures=0,
            refreshed_at=unknown,
            failing_since=None,
            at=unknown,
        )


class StagedResponses:
    """The staged responses of one database, in one folder of this host."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self._folder = folder / FOLDER
        self._database = _fingerprint(database_url)

    def is_writable(self) -> bool:
        """Whether a response could be staged. Does not create the folder."""
        existing = next(
            path for path in (self._folder, *self._folder.parents) if os.path.lexists(path)
        )
        return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)

    def stage(self, lease: Lease, sealed: SealedGrant) -> Path | None:
        """Write the encrypted response to a file and return its path; None if that fails.

        Raises nothing, so that the caller continues to retry the save.
        """
        content = json.dumps(
            {
                "connection_id": str(lease.connection_id),
                "user_id": user_id_for_json(lease.user_id),
                "generation": lease.generation,
                "owner": lease.owner,
                "fence": lease.fence,
                "sealed_access_token": _text(sealed.access_token),
                "sealed_refresh_token": _text(sealed.refresh_token),
                "scope": sealed.scope,
            }
        )
        path = self.path(str(lease.connection_id), lease.fence)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, content.encode())
        except OSError as error:
            logger.error("a token response could not be staged (%s)", type(error).__name__)
            return None
        return path

    def waiting(self, connection_id: UUID | None = None) -> Iterator[StagedResponse]:
        """The staged responses of this database, or of one of its connections, in any order.

        A file that cannot be read is logged and kept.
        """
        for path in self._paths(connection_id or "*"):
            try:
                yield _read(path)
            except FileNotFoundError:
                continue  # another process has stored it in the meantime
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                logger.error("%s cannot be read (%s)", path.name, type(error).__name__)

    def path(self, connection_id: str, fence: int) -> Path:
        """The file for the response to the request with this fencing token."""
        return self._folder / f"{self._database}-{connection_id}-{fence}.json"

    def count(self) -> int:
        """The number of files, unreadable ones included."""
        return len(self._paths("*"))

    def _paths(self, connection_id: UUID | str) -> list[Path]:
        return sorted(self._folder.glob(f"{self._database}-{connection_id}-*.json"))


def remove(path: Path) -> None:
    """Delete the file of a response that was stored or discarded."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.error("%s could not be deleted (%s)", path.name, type(error).__name__)


def _fingerprint(database_url: str) -> str:
    # Without host, user and password: they may change in DATABASE_URL while a response is staged.
    url = make_url(database_url)
    return hashlib.sha256(repr([url.get_backend_name(), url.database]).encode()).hexdigest()[:12]


def write_private(path: Path, content: bytes) -> None:
    """Write a file atomically, readable only by its owner. Raises OSError.

    Atomic also if the power fails: write another file, fsync, rename, fsync the folder.
    """
    temporary = path.with_suffix(".new")
    try:
        with open(temporary, "wb", opener=_open_private) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()  # on a full disk it is incomplete
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read(path: Path) -> StagedResponse:
    content = json.loads(path.read_bytes())
    return StagedResponse(
        path=path,
        connection_id=UUID(content["connection_id"]),
        user_id=user_id_from(content["user_id"]),
        generation=_whole(content["generation"]),
        owner=str(content["owner"]),
        fence=_whole(content["fence"]),
        sealed_access_token=_bytes(content["sealed_access_token"]),
        sealed_refresh_token=_bytes(content["sealed_refresh_token"]),
        scope=content["scope"],
    )


def _whole(value: object) -> int:
    """The value, if it is an integer that fits the column. Raises ValueError otherwise."""
    if type(value) is not int or not 0 <= value < 2**31:
        raise ValueError("not a valid generation or fencing token")
    return value


def _text(sealed: bytes | None) -> str | None:
    return None if sealed is None else base64.b64encode(sealed).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)
