"""Deletes an account, and counts the rows that are left."""

from flask import Flask
from sqlalchemy import func, select

from app.accounts import personal_data
from app.connections.lifecycle import Revocation
from app.database.db import Model, db
from tests.support.connected import Connected


def counts(app: Flask) -> dict[str, int]:
    """The number of rows of each table that is not empty."""
    with app.app_context():
        found = {
            table.name: db.session.scalar(select(func.count()).select_from(table)) or 0
            for table in Model.metadata.sorted_tables
            if table.name not in {"connection_count", "feed", "rate_limits"}
        }
    return {name: count for name, count in found.items() if count}


def leave(whose: Connected) -> Revocation | None:
    """Do the same as the form."""
    with whose.app.app_context():
        built = whose.app.extensions["connections"]
        ended: Revocation | None = built.lifecycle.leave(whose.user_id, personal_data.erase)
        return ended
