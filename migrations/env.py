"""Runs the migrations on the database of the app, by `flask db`."""

from typing import Any

from alembic import context
from flask import current_app


def run_migrations() -> None:
    """On a live database, each migration in a transaction of its own."""
    migrate = current_app.extensions["migrate"]
    options: dict[str, Any] = migrate.configure_args
    with migrate.db.engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=migrate.db.metadata,
            transaction_per_migration=True,
            **options,
        )
        with context.begin_transaction():
            context.run_migrations()


run_migrations()
