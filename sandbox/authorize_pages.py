"""GET /authorize and the consent page, up to the redirect with a code."""

from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Response, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox.authorization_request import (
    NowhereToRedirect,
    RedirectedRefusal,
    check_client,
    read_request,
)
from sandbox.consents import Approved, Asked
from sandbox.middleware import note
from sandbox.page_security import allow_form_to
from sandbox.seed_factories import FACTORIES
from sandbox.state import memory, sandbox

bp = Blueprint("login", __name__)


@bp.get("/authorize")
def authorize() -> AnyResponse:
    """Show the consent page, or refuse the request."""
    client = sandbox().client
    check_client(request.args, client)
    try:
        asked = read_request(request.args, client)
    except RedirectedRefusal as refusal:
        note(error=refusal.error, remark=refusal.description)
        answer = {"error": refusal.error, "error_description": refusal.description}
        return _send_back(client.redirect_uri, request.args.get("state", ""), answer)

    allow_form_to(client.redirect_uri)
    page = render_template(
        "consent.html",
        transaction=memory().consents.show(asked),
        factories=FACTORIES,
        client_id=client.id,
        destination=_site(client.redirect_uri),
    )
    return make_response(page)


@bp.post("/authorize/decision")
def decide() -> AnyResponse:
    """Redirect the browser with a code for the chosen factory, or with an error."""
    asked = memory().consents.decide(request.form.get("transaction", ""))
    if asked is None:
        raise NowhereToRedirect("This request was answered already, or it is too old.")
    allow_form_to(asked.redirect_uri)
    if request.form.get("decision") != "approve":
        note(error="access_denied", remark="cancelled")
        denied = {
            "error": "access_denied",
            "error_description": "User did not authorize the request",
        }
        return _send_back(asked.redirect_uri, asked.state, denied)

    return _send_back(asked.redirect_uri, asked.state, {"code": _code_for(asked)})


@bp.errorhandler(NowhereToRedirect)
def refuse(refusal: NowhereToRedirect) -> tuple[str, int]:
    """Show an error page: a browser must not be redirected to an unregistered URI."""
    note(error="invalid_request", remark=str(refusal))
    return render_template("refused.html", reason=str(refusal)), 400


def _code_for(asked: Asked) -> str:
    """Return a code for the factory that was chosen on the page."""
    factory = {each.key: each for each in FACTORIES}.get(request.form.get("factory", ""))
    if factory is None:
        raise NowhereToRedirect("There is no such factory.")

    note(remark=f"approved for {factory.display_name}")
    return memory().consents.issue_code(Approved(factory.key, asked), memory().rules.code_seconds)


def _send_back(redirect_uri: str, state: str, answer: dict[str, str]) -> AnyResponse:
    """Send the result to the client by a redirect or a form post, as the rules say."""
    rules = memory().rules
    fields = answer | ({"state": state} if state else {})
    if rules.send_iss:
        fields["iss"] = request.host_url
    if rules.callback_method == "post":
        allow_form_to(redirect_uri)
        return _form_post(redirect_uri, fields)

    separator = "&" if urlsplit(redirect_uri).query else "?"
    return redirect(f"{redirect_uri}{separator}{urlencode(fields)}")


def _form_post(redirect_uri: str, fields: dict[str, str]) -> Response:
    destination = _site(redirect_uri)
    page = render_template(
        "form_post.html", action=redirect_uri, fields=fields, destination=destination
    )
    return make_response(page)


def _site(url: str) -> str:
    """Return the host and port of a URL, which the page shows."""
    return urlsplit(url).netloc
