"""What the database holds, as a test looks at it."""

from flask import Flask
from sqlalchemy import func, select

from app.connections.models import ConnectAttempt, Connection
from app.database.db import db


def attempts(app: Flask) -> int:
    """How many attempts to connect are under way."""
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(ConnectAttempt)) or 0


def generation(app: Flask) -> int | None:
    """How often the one connection's grant has changed; None where there is none."""
    with app.app_context():
        return db.session.scalar(select(Connection.generation))


def connection(app: Flask) -> tuple[object, ...] | None:
    """Of the one connection what only connecting may change; None where there is none."""
    with app.app_context():
        row = db.session.scalar(select(Connection))
        return row and (row.id, row.generation, row.factory_name, row.sealed_refresh_token)
