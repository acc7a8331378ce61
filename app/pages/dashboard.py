"""The landing page, and the dashboard: the user's Katana data, from the copy or read live."""

from flask import Blueprint, Response, make_response, render_template
from flask_login import current_user  # type: ignore[import-untyped]

from app import connections
from app.connections import history, lifecycle
from app.connections.models import Status
from app.errors import ConnectError, NotConnected, ReconnectNeeded
from app.pages import copy, error_pages, katana_api
from app.pages.dashboard_data import Overview, overview
from app.pages.error_messages import Explanation

SHOWN = 10  # events of the connection's history

bp = Blueprint("dashboard", __name__)


@bp.get("/")
def landing() -> str:
    """The landing page."""
    return render_template("landing.html")


@bp.get("/dashboard")
def dashboard() -> Response:
    """The connection, the data from Katana, and the history of the connection."""
    user_id = current_user.id
    found = lifecycle.find(user_id)
    copied = copy.overview(found) if found else None
    # Without a copy of this account, as in a fork without a worker, the data is read live.
    seen, trouble = (None, None) if copied and copied.has_begun else _ask_katana(user_id)
    page = render_template(
        "dashboard.html",
        connection=lifecycle.find(user_id),  # read after the requests, which may have changed it
        renewals=connections.current().lifecycle.renewals(user_id),
        copied=copied,
        overview=seen,
        trouble=trouble,
        history=history.history(user_id, limit=SHOWN + 1),  # one more, for `display.event`
        shown=SHOWN,
    )
    response = make_response(page)
    if trouble and trouble.retry_after:
        response.status_code = 503
        response.headers["Retry-After"] = str(trouble.retry_after)
    return response


def _ask_katana(user_id: int) -> tuple[Overview | None, Explanation | None]:
    """The data from Katana, or why there is none; neither if the row itself says why."""
    connection = lifecycle.find(user_id)
    if connection is None or connection.status is Status.RECONNECT_NEEDED:
        return None, None

    connection_id, connected_by = connection.id, connection.connected_by
    nameless = connection.factory_name is None
    api = katana_api.for_connection(connection_id)
    try:
        if nameless:
            katana_api.name_factory(connection_id, connected_by, api)
        return overview(api), None
    except (NotConnected, ReconnectNeeded):
        return None, None
    except ConnectError as error:
        return None, error_pages.explain(error)
