"""Whether the process is up, and whether it can do its work. No details: everybody may ask."""

from functools import cache, partial

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Blueprint, Flask, current_app, request
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.database.db import db
from app.operations import probe
from app.operations.questions import Question
from app.settings.config import ROOT

bp = Blueprint("health", __name__)
PLAIN = {"Content-Type": "text/plain; charset=utf-8"}


@bp.get("/healthz")
def up() -> tuple[str, int, dict[str, str]]:
    """The process answers; to `flask doctor` also with how the request has come."""
    if probe.is_proof(request.headers.get(probe.HEADER), current_app.config["SECRET_KEY"]):
        arrived = probe.Arrived(request.remote_addr or "", request.scheme, request.host)
        return f"{arrived.told()}\n", 200, PLAIN

    return "ok\n", 200, PLAIN


@bp.get("/readyz")
def ready() -> tuple[str, int, dict[str, str]]:
    """The database answers, and its tables are those of this code."""
    question: Question[frozenset[str]] = current_app.extensions["migrated_to"]
    try:
        at_head = question.answer() == _newest()
    except (SQLAlchemyError, TimeoutError):
        at_head = False
    return ("ok\n", 200, PLAIN) if at_head else ("not ready\n", 503, PLAIN)


def init_app(app: Flask) -> None:
    """Let these pages know the database of `app`."""
    with app.app_context():
        app.extensions["migrated_to"] = Question(partial(_migrated_to, db.engine))


def _migrated_to(engine: Engine) -> frozenset[str]:
    with engine.connect() as connection:
        return frozenset(MigrationContext.configure(connection).get_current_heads())


@cache
def _newest() -> frozenset[str]:
    return frozenset(ScriptDirectory(str(ROOT / "migrations")).get_heads())
