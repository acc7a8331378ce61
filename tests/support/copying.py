"""Does a worker's sync in this process."""

from flask import Flask

from app import sync


def work(app: Flask, resource: str | None = None, chunks: int = 30) -> None:
    """Read one resource or all, as a worker does, until nothing is due, or for at most `chunks`."""
    parts: sync.Sync = app.extensions["sync"]
    with app.app_context():
        for _ in range(chunks):
            due = [(owner, resource or first) for owner, first in parts.cursors.due(99)]
            if not any(parts.reading.work(owner, name, lambda: False) for owner, name in due):
                return
