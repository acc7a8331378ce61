"""Connect to Katana: the way there, the way back, and disconnecting."""

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
    """Send the user to Katana, to approve: a browser by a page that leads on, others by a 303."""
    parts = current()
    try:
        attempt = parts.attempts.begin(current_user.session_id)
    except AttemptRefused:  # signed out in another tab, since this request came in
        raise Unauthorized from None
    return _to_katana(parts.login.authorization_url(attempt.state, attempt.code_verifier))


@bp.post("/callback")
@csrf.exempt  # type: ignore[untyped-decorator]
@throttle.callbacks
def callback_posted() -> Response:
    """Turn a POST from Katana's page into a GET: only that brings the session's cookie along."""
    read(request.form)
    answer = {name: request.form[name] for name in NAMES if name in request.form}
    return redirect(url_for("connect.callback", **answer), 303)  # type: ignore[arg-type]


@bp.get("/callback")
@throttle.callbacks
def callback() -> Response:
    """Take Katana's answer; no step is reached but past the one before."""
    if request.method == "HEAD":  # Flask adds it to every GET, and a look must use up nothing
        raise MethodNotAllowed(["GET", "POST"])

    answer = read(request.args)
    if not current_user.is_authenticated:
        raise Unauthorized

    attempts = current().attempts
    if attempts.is_under_way(answer.state, current_user.session_id):
        return _repeated(answer)

    try:
        # Before the attempt is used up: a callback that finds no place can be loaded again.
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
    """End the connection, and say what that did and what not."""
    flash(GOODBYES[current().lifecycle.disconnect(current_user.id)])
    return _to_dashboard()


@bp.after_request
def keep_the_url(response: Response) -> Response:
    """Keep codes and states out of every Referer, and out of what a redirect says in words."""
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    if response.location:
        response.set_data(b"")
    return response


def _to_katana(url: str) -> Response:
    # Chromium applies `form-action` of the page with the button to every redirect after it (CSP
    # Level 3 section 6.4.1), and stops without a word where Katana's login redirects to another
    # origin, such as a customer's single sign-on, which no setting can list. A page that refreshes
    # to another one starts a new navigation, which `form-action` does not apply to in any browser.
    # All current browsers send this header; older ones and clients that are none get the redirect.
    if request.headers.get("Sec-Fetch-Mode") == "navigate":
        return make_response(render_template("to_katana.html", url=url))

    return redirect(url, 303)


def _repeated(answer: KatanaAnswer) -> Response:
    """A callback that was loaded again, or twice at once, leads to where the first one led.

    Raises ExchangeUnderWay where that takes too long, else AttemptUsed where no connection came.
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
    # Of a refusal too: who it is from decides what is said of Katana (RFC 9207 section 2.4).
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
    # Over https the CSRF check wants to see where the form on this page comes from.
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
    """What the account is called; None where Katana does not say, which costs nothing."""
    try:
        api = katana_api.for_connection(connected.connection_id)
        return katana_api.name_factory(connected.connection_id, connected.connected_by, api)
    except ConnectError as error:
        logger.info("the name of a new connection's factory will be asked for later: %s", error)
        return None


def _to_dashboard() -> Response:
    return redirect(url_for("dashboard.dashboard"), 303)
