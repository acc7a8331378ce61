"""The database session, the base of the models, and the migrations."""

import logging

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import MetaData
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase

from app.database.engine import prepare


class Model(DeclarativeBase):
    """The base class of all models. Its naming convention gives constraints stable names."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


db = SQLAlchemy(model_class=Model)
migrate = Migrate(render_as_batch=True)

logger = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Set up the engine, the session and the migrations of `app`."""
    db.init_app(app)
    app.teardown_appcontext(_close)  # runs before that of Flask-SQLAlchemy
    migrate.init_app(app, db)
    with app.app_context():
        prepare(db.engine)


def _close(_error: BaseException | None) -> None:
    """Close the session at the end of a request, even if the database is gone.

    Everything that must be saved is already committed. An error here would replace the
    finished page by the server's error page.
    """
    try:
        db.session.remove()
    except DBAPIError as error:
        logger.warning("a transaction could not be rolled back: %s", type(error.orig).__name__)
        db.session().invalidate()
