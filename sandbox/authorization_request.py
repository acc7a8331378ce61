"""Validates an authorization request. A wrong one is refused in one of two ways."""

import re

from werkzeug.datastructures import MultiDict

from sandbox.consents import Asked
from sandbox.state import Client

# The parameters that Auth0 accepts from a strict third-party application.
_ALLOWED = re.compile(
    r"acr_values|audience|client_id|code_challenge(_method)?|connection|display|login_hint|max_age"
    r"|nonce|prompt|redirect_uri|resource|response_type|scope|state|ui_locales|ext-.+"
)
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


class NowhereToRedirect(Exception):
    """The client or its redirect URI is wrong, so the browser must not be redirected."""


class RedirectedRefusal(Exception):
    """The request is wrong; the client gets OAuth's `error` at its redirect URI."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description


def check_client(args: MultiDict[str, str], client: Client) -> None:
    """Refuse a request with another client id or another redirect URI.

    :raise NowhereToRedirect: its message is shown to the user.
    """
    if len(args.getlist("client_id")) != 1 or not client.is_named(args["client_id"]):
        raise NowhereToRedirect("Unknown client: this client_id is not registered here.")
    if args.getlist("redirect_uri") != [client.redirect_uri]:
        raise NowhereToRedirect(
            "Callback URL mismatch: the redirect_uri is not exactly the registered one."
        )


def read_request(args: MultiDict[str, str], client: Client) -> Asked:
    """Return the parameters of an authorization request of the right client.

    :raise RedirectedRefusal: something in it is missing, repeated, unknown or wrong.
    """
    _check_names(args)
    if not args.get("state"):
        raise RedirectedRefusal("invalid_request", "Missing required parameter: state")
    if args.get("response_type") != "code":
        raise RedirectedRefusal("unsupported_response_type", "response_type must be code")
    if args.get("audience") != client.audience:
        raise RedirectedRefusal("access_denied", "Service not found: unknown audience")
    if "offline_access" not in args.get("scope", "").split():
        raise RedirectedRefusal("invalid_scope", "scope must include offline_access")

    return Asked(client.redirect_uri, args["state"], _challenge(args))


def _check_names(args: MultiDict[str, str]) -> None:
    for name, values in args.lists():
        if len(values) > 1:
            raise RedirectedRefusal("invalid_request", "A parameter was given more than once")
        if not _ALLOWED.fullmatch(name):
            raise RedirectedRefusal("invalid_request", "A parameter is not allowed")


def _challenge(args: MultiDict[str, str]) -> str | None:
    """Return the PKCE challenge, or None when PKCE is not used at all."""
    challenge, method = args.get("code_challenge"), args.get("code_challenge_method")
    if challenge is None and method is None:
        return None
    if method != "S256":
        raise RedirectedRefusal("invalid_request", "code_challenge_method must be S256")
    if challenge is None or not _CHALLENGE.fullmatch(challenge):
        raise RedirectedRefusal("invalid_request", "code_challenge is not an S256 challenge")

    return challenge
