"""Whether the process is up, and whether it can work. No details: the pages are public."""

from collections.abc import Iterable
from functools import partial
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Blueprint, Flask, current_app, request
from sqlalchemy import Engine, delete
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.sansio.utils import host_is_trusted

from app.accounts import throttle
from app.accounts.models import RateLimit
from app.database.db import db
from app.operations import doctor_echo
from app.operations.migrations import Tables, tables_of
from app.operations.probes import Question
from app.settings.config import Settings

bp = Blueprint("health", __name__)
PROBES = frozenset({"/healthz", "/readyz"})
ORIGINAL_HOST = "connect_to_katana.host"  # in the WSGI environment
PLAIN = {"Content-Type": "text/plain; charset=utf-8"}


@bp.get("/healthz")
def up() -> tuple[str, int, dict[str, str]]:
    """The process responds. `flask doctor` is also told how its request arrived."""
    if doctor_echo.is_proof(
        request.headers.get(doctor_echo.HEADER), current_app.config["SECRET_KEY"]
    ):
        host = request.environ[ORIGINAL_HOST]
        arrived = doctor_echo.Arrived(request.remote_addr or "", request.scheme, host)
        return f"{arrived.told()}\n", 200, PLAIN

    return "ok\n", 200, PLAIN


@bp.get("/readyz")
def ready() -> tuple[str, int, dict[str, str]]:
    """Whether the database and the store of the rate limits respond, and no migration is missing.

    Newer tables are accepted: in a rolling upgrade the first host of the new version migrates, and
    hosts of the old version continue until they are replaced.
    """
    question: Question[Tables] = current_app.extensions["tables"]
    try:
        is_ready = question.answer() != Tables.OLDER and throttle.is_store_available()
    except (SQLAlchemyError, TimeoutError):
        is_ready = False
    return ("ok\n", 200, PLAIN) if is_ready else ("not ready\n", 503, PLAIN)


def init_app(app: Flask, settings: Settings) -> None:
    """Give these pages the database of `app`, and let probes use any host name."""
    app.wsgi_app = AnyHost(app.wsgi_app, _own_host(settings))  # type: ignore[method-assign]
    with app.app_context():
        app.extensions["tables"] = Question(partial(_tables, db.engine))


class AnyHost:
    """Accepts probes with any Host: a load balancer uses an IP address that is not known before.

    All other pages accept TRUSTED_HOSTS only, because they contain links.
    """

    def __init__(self, wsgi_app: WSGIApplication, host: str) -> None:
        self._wsgi_app = wsgi_app
        self._host = host

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[ORIGINAL_HOST] = environ.get("HTTP_HOST", "")
        if environ.get("PATH_INFO") in PROBES:
            environ["HTTP_HOST"] = self._host
        return self._wsgi_app(environ, start_response)


def _own_host(settings: Settings) -> str:
    """A host in TRUSTED_HOSTS, for requests whose Host is ignored."""
    (first, *_), own = settings.trusted_hosts, urlsplit(settings.katana.redirect_uri).netloc
    if host_is_trusted(own, settings.trusted_hosts):
        return own
    return f"[{first}]" if ":" in first else first.removeprefix(".")


def _tables(engine: Engine) -> Tables:
    """The state of the tables, read in a transaction that also writes."""
    with engine.connect() as connection:
        tables = tables_of(connection)
        # A DELETE that matches no row needs the right to write and changes nothing. SQLite takes
        # its write lock, and a read-only PostgreSQL server refuses it.
        connection.execute(delete(RateLimit).where(RateLimit.key == ""))
        connection.rollback()
    return tables
