"""Requests to Katana's API while a page is built."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

from flask import Flask, current_app
from requests import Session

from app import connections, sync
from app.connections import lifecycle
from app.connections.host import UserId
from app.database.clock import monotonic
from app.database.db import db
from app.errors import NotConnected
from app.katana.client import KatanaApi
from app.settings.config import Settings

PAGE_SECONDS = 12.0  # for all requests of one page


def init_app(app: Flask, settings: Settings, session: Session) -> None:
    """Give pages access to Katana's API through `session`."""

    def api(connection_id: UUID) -> KatanaApi:
        parts = connections.current()
        token = partial(_fresh_access_token, connection_id)
        until = monotonic() + PAGE_SECONDS
        base_url = settings.katana.api_base_url
        meter = sync.current().budget.meter(connection_id, leave_reserve=False)
        bulkhead = parts.bulkheads.api
        return KatanaApi(base_url, session, token, until, meter=meter, bulkhead=bulkhead)

    app.extensions["katana_api"] = api


def for_user(user_id: UserId) -> KatanaApi:
    """Katana's API with the user's access token, within the time limit of one page.

    Each request first ends the transaction of `db.session`, so that none is open while it is on the
    wire: commit your changes before. Raises NotConnected. Each request raises the errors of
    KatanaApi, and RuntimeError if changes are not committed.
    """
    connection = lifecycle.find(user_id)
    if connection is None:
        raise NotConnected

    return for_connection(connection.id)


def for_connection(connection_id: UUID) -> KatanaApi:
    """The same for a known connection."""
    api: Callable[[UUID], KatanaApi] = current_app.extensions["katana_api"]
    return api(connection_id)


def name_factory(connection_id: UUID, connected_by: str, api: KatanaApi) -> str | None:
    """Read the name of the Katana account that the attempt `connected_by` connected, and store it.

    A page that needs more data uses the same `api`, so that one time limit holds for all of it.
    Raises the API's errors.
    """
    name = api.factory().name
    if name:
        connections.current().lifecycle.name_factory(connection_id, connected_by, name)
    return name or None


def _fresh_access_token(connection_id: UUID, refused: str | None = None) -> str:
    if db.session.new or db.session.dirty or db.session.deleted:
        raise RuntimeError("commit what you have written before you ask Katana")

    db.session.rollback()
    return connections.current().refresh.fresh_access_token(connection_id, refused)
