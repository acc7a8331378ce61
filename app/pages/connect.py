"""Connect to Katana: the redirect to Katana, the callback, and disconnect."""

import logging
from contextlib import nullcontext

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask_login import current_user  # type: ignore[import-untyped]
from werkzeug.exceptions import MethodNotAllowed, Unauthorized
from werkzeug.wrappers import Response

from app.accounts import throttle
from app.connections import current, lifecycle
from app.connections.lifecycle import Connected, Revocation
from app.errors import (
    AttemptRefused,
    AttemptUsed,
    ConnectError,
    ExchangeUnderWay,
    KatanaSaturated,
)
from app.katana.oauth import SCOPE
from app.pages import katana_api
from app.pages.authorization_errors import refusal
from app.pages.callback_parameters import NAMES, KatanaAnswer, read
from app.pages.security import csrf

DELETED = "Disconnected. This app deleted its keys"
GOODBYES = {
    Revocation.REVOKED: f"{DELETED}, and Katana confirmed that access is revoked.",
    Revocation.NOT_OFFERED: (
        f"{DELETED} to your Katana and can no longer reach it. "
        "Nothing was changed in Katana itself."
    ),
    Revocation.FAILED: f"{DELETED}. Katana did not confirm that access is revoked.",
    None: "Katana was not connected any more.",
}

REPEAT_SECONDS = 15.0  # how long a repeated callback waits for the first; an exchange takes 10 s

logger = logging.getLogger(__name__)
bp = Blueprint("connect", __name__, url_prefix="/katana")


@bp.post("/connect")
@throttle.connects
def connect() -> Response:
    """Send the user to Katana to approve: browsers by a page that redirects, others by a 303."""
    parts = current()
    try:
        attempt = parts.attempts.begin(current_user.session_id)
    except AttemptRefused:  # signed out in another tab after this request began
        raise Unauthorized from None
    return _to_katana(parts.login.authorization_url(attempt.state, attempt.code_verifier))


@bp.post("/callback")
@csrf.exempt  # type: ignore[untyped-decorator]
@throttle.callbacks
def callback_posted() -> Response:
    """Turn a POST from Katana's page into a GET: a browser sends the session cookie only then."""
    read(request.form)
    answer = {name: request.form[name] for name in NAMES if name in request.form}
    return redirect(url_for("connect.callback", **answer), 303)  # type: ignore[arg-type]


@bp.get("/callback")
@throttle.callbacks
def callback() -> Response:
    """Handle Katana's response. Each step runs only if the step before has succeeded."""
    if request.method == "HEAD":  # Flask adds it to every GET, and it must not consume an attempt
        raise MethodNotAllowed(["GET", "POST"])

    answer = read(request.args)
    if not current_user.is_authenticated:
        raise Unauthorized

    attempts = current().attempts
    if attempts.is_under_way(answer.state, current_user.session_id):
        return _repeated(answer)

    try:
        # Before the attempt is consumed: a callback that gets no slot can be loaded again.
        with current().bulkheads.callbacks.slot() if answer.code else nullcontext():
            code_verifier = attempts.consume(answer.state, current_user.session_id)
            try:
                done = _finish(answer, code_verifier)
            finally:
                attempts.finish(answer.state)
    except (AttemptUsed, ExchangeUnderWay):
        return _repeated(answer)

    if isinstance(done, Connected):
        flash(_welcome(done))
        return _to_dashboard()

    return done


@bp.post("/disconnect")
def disconnect() -> Response:
    """End the connection, and tell the user what was revoked."""
    flash(GOODBYES[current().lifecycle.disconnect(current_user.id)])
    return _to_dashboard()


@bp.after_request
def keep_the_url(response: Response) -> Response:
    """Keep codes and states out of every Referer, and out of the body of a redirect."""
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    if response.location:
        response.set_data(b"")
    return response


def _to_katana(url: str) -> Response:
    # Chromium applies `form-action` of the page with the button to every later redirect (CSP Level
    # 3 section 6.4.1). It stops without a message if Katana's login redirects to another origin,
    # such as a customer's single sign-on. No setting can list these origins. A page with a refresh
    # to another one starts a new navigation, to which no browser applies `form-action`. All current
    # browsers send this header. Older ones and other clients get the redirect.
    if request.headers.get("Sec-Fetch-Mode") == "navigate":
        return make_response(render_template("to_katana.html", url=url))

    return redirect(url, 303)


def _repeated(answer: KatanaAnswer) -> Response:
    """A callback that was loaded again, or twice at once, redirects to the result of the first.

    Raises ExchangeUnderWay if the first takes too long, and AttemptUsed if it made no connection.
    """
    if current().attempts.is_under_way(answer.state, current_user.session_id):
        _wait_for_first(answer.state)
    if lifecycle.finished(current_user.id, answer.state):
        return _to_dashboard()

    raise AttemptUsed("the attempt was used, or its session has ended, and no connection came")


def _wait_for_first(state: str) -> None:
    parts = current()
    try:
        with parts.bulkheads.others_refreshes.waiting(0) as seconds:
            seconds = min(seconds, REPEAT_SECONDS)
            parts.attempts.wait_for_exchange(state, current_user.session_id, seconds)
    except KatanaSaturated:
        raise ExchangeUnderWay("too many requests wait for Katana to wait for another") from None


def _finish(answer: KatanaAnswer, code_verifier: str) -> Connected | Response:
    parts = current()
    issuer = parts.login.settings.issuer
    # Also for an error: the app reports only Katana's own errors as such (RFC 9207 section 2.4).
    if issuer and answer.iss != issuer:
        raise AttemptRefused(f"a callback has {_who_issued(answer)} in place of KATANA_ISSUER")

    if answer.code is None:
        return _not_approved(answer.error)

    grant = parts.login.exchange(answer.code, code_verifier)
    if grant.scope not in {None, SCOPE}:
        logger.warning("Katana granted another scope than %s", SCOPE)
    return parts.lifecycle.connect(current_user.id, grant, answer.state)


def _who_issued(answer: KatanaAnswer) -> str:
    return "no iss" if answer.iss is None else "another iss"


def _not_approved(error: str | None) -> Response:
    why = refusal(error)
    if why.ours:
        logger.error("Katana's authorization page refused this app: %s", why.name)
    page = make_response(render_template("not_approved.html", why=why), why.status)
    # Over https the CSRF check needs the origin of the page with the form.
    page.headers["Referrer-Policy"] = "strict-origin"
    return page


def _welcome(connected: Connected) -> str:
    name, before = _factory_name(connected), connected.previous_factory
    if name is None:
        return "Connected to Katana."

    if before and before != name:
        return f"Connected to {name}. Before, this was {before}."

    return f"Connected to {name}."


def _factory_name(connected: Connected) -> str | None:
    """The name of the Katana account; None if Katana does not return it, which does no harm."""
    try:
        api = katana_api.for_connection(connected.connection_id)
        return katana_api.name_factory(connected.connection_id, connected.connected_by, api)
    except ConnectError as error:
        logger.info("the name of a new connection's factory will be asked for later: %s", error)
        return None


def _to_dashboard() -> Response:
    return redirect(url_for("dashboard.dashboard"), 303)
