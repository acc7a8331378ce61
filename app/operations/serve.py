"""Serves the app in production, for `make serve`: checks settings, migrates, runs gunicorn."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import flask_migrate
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from app import create_app
from app.database import poolers
from app.database.db import db
from app.errors import ConfigurationError
from app.operations.migrations import FOLDER, NEWER, NEWER_REMEDY, Tables, tables_of
from app.settings import config

WHERE_FROM = "Set them in the environment or in .env, which `make .env` writes with fresh secrets."


def main() -> NoReturn:
    """Become gunicorn, with gunicorn.conf.py. Every failure ends with a sentence and status 1."""
    try:
        settings = config.load(sandbox=False)
    except ConfigurationError as error:
        sys.exit(f"{error}\n{WHERE_FROM}")
    if settings.database_url == config.SQLITE_URL:
        config.INSTANCE.mkdir(mode=0o700, exist_ok=True)
    migrate()
    os.chdir(config.ROOT)
    # Replaces this process, so that signals such as a supervisor's SIGTERM reach gunicorn. The
    # script is used because gunicorn runs the same path again for a successor (SIGUSR2). With -m
    # that path would be a file inside its package, where `http` hides Python's module.
    script = Path(sys.executable).with_name("gunicorn")
    os.execv(sys.executable, (sys.executable, str(script), "wsgi:app"))  # noqa: S606


def migrate(environ: Mapping[str, str] | None = None) -> None:
    """Migrate the database. Any number of hosts may do so at once."""
    try:
        with create_app(environ).app_context():
            _refuse_newer()
            flask_migrate.upgrade(directory=FOLDER)
    except (SQLAlchemyError, CommandError) as error:
        if poolers.refuses_settings(error):
            sys.exit(f"{poolers.REFUSES} {poolers.REMEDY}")
        sys.exit(
            "The database at DATABASE_URL does not answer, or cannot be brought up to date: "
            "`flask doctor` tells more."
        )


def _refuse_newer() -> None:
    with db.engine.connect() as connection:
        if tables_of(connection) is Tables.NEWER:
            sys.exit(f"{NEWER} {NEWER_REMEDY}")


if __name__ == "__main__":
    main()
