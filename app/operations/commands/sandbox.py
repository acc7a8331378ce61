"""flask sandbox: start the sandbox. A fork without `sandbox/` deletes this file too."""

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import click
from flask.cli import with_appcontext

from app.operations.commands import require_settings
from app.settings.config import ROOT
from app.settings.parsing import LOOPBACK_HOSTS


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8001, show_default=True, help="0: any."
)
@click.option(
    "--authority",
    type=click.Path(exists=True, dir_okay=False),
    help="Who has signed the certificate of KATANA_REDIRECT_URI, for webhooks.",
)
@with_appcontext
def sandbox(port: int, authority: str | None) -> None:
    """Start the sandbox, with this app's client id, secret and redirect URI."""
    settings = require_settings.current()
    katana, mail = settings.katana, settings.mail_server
    if urlsplit(katana.authorize_url).port != port:
        click.echo(f"KATANA_AUTHORIZE_URL and its like do not lead to port {port}.", err=True)
    client = {
        "KATANA_CLIENT_ID": katana.client_id,
        "KATANA_CLIENT_SECRET": katana.client_secret,
        "KATANA_REDIRECT_URI": katana.redirect_uri,
        "KATANA_AUDIENCE": katana.audience,
    }
    os.chdir(ROOT)
    # Replaces this process, so that a signal to the command ends the sandbox.
    command: tuple[str, ...] = (sys.executable, "-m", "sandbox", "--port", str(port))
    if authority:
        command += ("--authority", str(Path(authority).resolve()))
    if mail and mail.host in LOOPBACK_HOSTS:
        command += ("--smtp-port", str(mail.port))
    os.execve(sys.executable, command, os.environ | client)  # noqa: S606  no shell is needed
