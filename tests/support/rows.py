"""Reads stored rows."""

from flask import Flask
from sqlalchemy import func, select

from app.connections.models import ConnectAttempt, Connection
from app.database.db import db


def attempts(app: Flask) -> int:
    """The number of stored attempts."""
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(ConnectAttempt)) or 0


def generation(app: Flask) -> int | None:
    """The generation of the only connection; None if there is none."""
    with app.app_context():
        return db.session.scalar(select(Connection.generation))


def connection(app: Flask) -> tuple[object, ...] | None:
    """The columns of the only connection that only a connect changes; None if there is none."""
    with app.app_context():
        row = db.session.scalar(select(Connection))
        return row and (row.id, row.generation, row.factory_name, row.sealed_refresh_token)
