"""flask keys: make a key that seals tokens."""

import base64
import secrets
from datetime import UTC, datetime

import click
from flask.cli import AppGroup

from app.config import KEY_BYTES

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
