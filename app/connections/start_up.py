"""Stores, before the first request, the token responses that wait on this host."""

import logging

from flask import Flask

from app.connections import current
from app.connections.host import db

logger = logging.getLogger(__name__)


def store_staged(app: Flask) -> None:
    """Store what an earlier process could not save; says once if this host can stage nothing."""
    with app.app_context():
        parts = current()
        if not parts.staged.is_writable():
            logger.warning(
                "the instance folder cannot be written: a token response that the database does "
                "not take is lost if the process ends before it can be saved"
            )
        parts.refresh.store_staged()
        db.engine.dispose()  # a server that forks after this must not share its sessions
