"""Serves the app in production, for `make serve`: settings, migrations, then gunicorn."""

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
    """Become gunicorn, with gunicorn.conf.py; whatever fails leaves by a sentence and status 1."""
    try:
        settings = config.load(sandbox=False)
    except ConfigurationError as error:
        sys.exit(f"{error}\n{WHERE_FROM}")
    if settings.database_url == config.SQLITE_URL:
        config.INSTANCE.mkdir(mode=0o700, exist_ok=True)
    migrate()
    os.chdir(config.ROOT)
    # In this very process: whoever ends it ends gunicorn, and a supervisor's SIGTERM gets there. By
    # its script, which gunicorn names again for a successor (SIGUSR2); started with -m it would
    # name a file inside of its package, where its own `http` hides Python's.
    script = Path(sys.executable).with_name("gunicorn")
    os.execv(sys.executable, (sys.executable, str(script), "wsgi:app"))  # noqa: S606


def migrate(environ: Mapping[str, str] | None = None) -> None:
    """Bring the database up to date; any number of hosts may do so at once."""
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
