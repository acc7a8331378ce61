"""flask keys: create a key that seals tokens, and seal all tokens with it."""

import base64
import logging
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import click
from flask.cli import AppGroup

from app import connections as parts
from app.connections.fleet.key_rotation import KeyInUse
from app.credentials import KEY_BYTES
from app.operations.commands import require_settings
from app.operations.commands.progress import progress

logger = logging.getLogger(__name__)

WHAT_NEXT = (
    "Append it to TOKEN_ENCRYPTION_KEYS on every host and restart, so that all can open what it "
    "seals; then move it to the front and restart; then run `flask keys rotate`."
)


@click.group(cls=AppGroup)
def keys() -> None:
    """Make the keys that seal tokens, and change from one to the next."""


@keys.command(with_appcontext=False)
def new() -> None:
    """Print a fresh key for TOKEN_ENCRYPTION_KEYS."""
    kid = f"k{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(2)}"
    key = base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    click.echo(f"{kid}:{key}")
    click.echo(WHAT_NEXT, err=True)


@keys.command(cls=require_settings.DatabaseCommand)
@click.pass_context
def rotate(ctx: click.Context) -> None:
    """Seal every stored token anew under the first key of TOKEN_ENCRYPTION_KEYS.

    It may run beside live traffic, be interrupted, and run again. The exit status is 1 where a
    token does not open.
    """
    parts.current().refresh.store_staged()
    fleet = parts.current()
    broken: dict[UUID, str] = {}
    values = 0
    with progress("Sealing", fleet.sealed_tokens.count()) as done:
        for batch in fleet.key_rotation.run():
            broken |= batch.broken
            values += batch.values
            done(batch.connections)
    kid = require_settings.current().token_keys[0].kid
    fields = {"event": "keys_rotated", "detail": kid}
    if values:
        logger.info("%s values are sealed anew by %s", values, kid, extra=fields)
    click.echo(f"Values sealed anew: {values}.")
    for connection_id, why in broken.items():
        click.echo(f"connection {connection_id}: {why}; left as it is", err=True)
    click.echo(_still_needed(fleet.sealed_tokens.keys_in_use()))
    waiting = parts.current().staged.count()
    if waiting:
        click.echo(
            f"{waiting} token responses wait in instance/unsaved/ for the database: keep every key "
            "until `flask doctor` finds none.",
            err=True,
        )
    ctx.exit(1 if broken or waiting else 0)


def _still_needed(uses: Sequence[KeyInUse]) -> str:
    first, *others = (key.kid for key in require_settings.current().token_keys)
    needed = [f"{use.kid} (for {use.values})" for use in uses if use.kid not in {None, first}]
    if needed:
        return (
            f"Still needed beside {first}: {', '.join(needed)}. "
            "Run this again once no process seals with them."
        )
    if others:
        return (
            f"Every token is sealed by {first}. Once every process has run with it as the first "
            f"key for ten minutes, these may go: {', '.join(others)}."
        )
    return f"Every token is sealed by {first}."
