"""The `flask` commands. `keys new` and `doctor` also work while the settings are wrong."""

import click
from flask import Flask
from flask.cli import AppGroup, FlaskGroup
from gunicorn.errors import AppImportError  # type: ignore[import-untyped]

from app.errors import ConfigurationError
from app.operations import doctor
from app.operations.commands import (
    connections,
    keep_alive,
    keys,
    move_database,
    sandbox,
    users,
    worker,
)
from app.settings.config import Settings


def init_app(app: Flask, settings: Settings | ConfigurationError) -> None:
    """Add the commands to `app`. They read the settings with `require_settings.current()`."""
    app.extensions["settings"] = settings
    connections.connections.add_command(keep_alive.keep_alive)
    connections.connections.add_command(keep_alive.verify_before_use)
    connections.connections.add_command(move_database.move)
    groups = (connections.connections, users.users, keys.keys)
    for command in (*groups, doctor.doctor, sandbox.sandbox, worker.worker):
        app.cli.add_command(command)


def is_asked() -> bool:
    """Whether this process runs a `flask` command, and not a server."""
    return click.get_current_context(silent=True) is not None


def without_settings(error: ConfigurationError) -> Flask:
    """The app for `flask` while the settings are wrong: `keys new` and `doctor` work without them.

    Raises AppImportError if no `flask` command runs, so that no server starts: gunicorn prints its
    text without a traceback, and does not try again. Raises a ClickException with the same text if
    the command needs the real app, as `flask run` and `flask db` do.
    """
    asking = click.get_current_context(silent=True)
    if asking is None:
        raise AppImportError(str(error)) from error

    if not isinstance(asking.command, FlaskGroup):
        raise click.ClickException(str(error))

    app = Flask(__name__)
    app.cli = _Explaining(error)
    init_app(app, error)
    return app


class _Explaining(AppGroup):
    """Reports what is wrong with the settings if a command is unknown, such as an extension's."""

    def __init__(self, error: ConfigurationError) -> None:
        super().__init__()
        self.error = error

    def get_command(self, ctx: click.Context, name: str) -> click.Command:
        """The command `name`. Raises ClickException if it is unknown."""
        command = super().get_command(ctx, name)
        if command is None:
            raise click.ClickException(str(self.error))

        return command
