"""Commands that need valid settings and a database."""

from typing import Any

import click
from flask import Flask, current_app
from flask.cli import AppGroup, ScriptInfo
from sqlalchemy.exc import SQLAlchemyError

from app.database import poolers
from app.errors import ConfigurationError
from app.operations import logs
from app.settings.config import Settings


def current() -> Settings:
    """The settings of the current app."""
    return _checked(current_app)


class DatabaseCommand(click.Command):
    """A command that ends with one sentence if the settings or the database fail."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and return its result."""
        _checked(ctx.ensure_object(ScriptInfo).load_app())
        try:
            with logs.carrying(f"{self.name}-{logs.new_id()}"):
                return super().invoke(ctx)
        except SQLAlchemyError as error:
            if _interrupted(error):
                raise click.Abort from None

            if poolers.refuses_settings(error):
                raise click.ClickException(f"{poolers.REFUSES} {poolers.REMEDY}") from None

            # Only the class: the text of the error contains the statement and its values.
            raise click.ClickException(
                f"The database failed ({type(error).__name__}): `flask doctor` tells more."
            ) from None


def _interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C caused it: an interrupted statement can make the database driver fail."""
    while error and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


class DatabaseGroup(AppGroup):
    """A group whose commands are DatabaseCommands."""

    command_class = DatabaseCommand


def _checked(app: Flask) -> Settings:
    settings: Settings | ConfigurationError = app.extensions["settings"]
    if isinstance(settings, ConfigurationError):
        raise click.ClickException(str(settings))

    return settings
