"""Error responses of the login and the API, with the statuses and texts of Auth0 and Katana."""

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Response, json


@dataclass
class LoginRefusal(Exception):
    """An error of the token endpoint or the revocation endpoint; no token was issued."""

    status: int
    error: str
    description: str
    family: int | None = None
    remark: str | None = None


@dataclass
class ApiRefusal(Exception):
    """An error of the API; `details` says which parameter was wrong, for a 422 only."""

    status: int
    name: str
    message: str
    details: tuple[dict[str, object], ...] = ()

    def answer(self, shape: str, headers: Mapping[str, str] | None = None) -> Response:
        """Return Katana's response, in the shape `wrapped` or `flat`; Katana publishes both."""
        error: dict[str, object] = {"statusCode": self.status, "name": self.name}
        error["message"] = self.message
        if self.details:
            error |= {"code": "VALIDATION_FAILED", "details": self.details}
        body = error if shape == "flat" else {"error": error}
        return Response(json.dumps(body), self.status, headers, content_type="application/json")


def bad_request(description: str) -> LoginRefusal:
    """Return the refusal of a request that is not well-formed."""
    return LoginRefusal(400, "invalid_request", description)


def wrong_client() -> LoginRefusal:
    """Return the refusal of a client that is unknown or not authenticated correctly."""
    return LoginRefusal(401, "access_denied", "Unauthorized")


def bad_code(remark: str) -> LoginRefusal:
    """Return the refusal of an authorization code, whatever is wrong with it."""
    return LoginRefusal(403, "invalid_grant", "Invalid authorization code", remark=remark)


def bad_verifier() -> LoginRefusal:
    """Return the refusal of a PKCE verifier that does not match the challenge."""
    return LoginRefusal(403, "invalid_grant", "Failed to verify code verifier", remark="PKCE")


def bad_refresh_token(family: int | None, remark: str) -> LoginRefusal:
    """Return the refusal of a refresh token; only the ledger's `remark` has the reason."""
    description = "Unknown or invalid refresh token."
    return LoginRefusal(403, "invalid_grant", description, family, remark)


def api_refusal(status: int) -> ApiRefusal:
    """Return Katana's refusal for an HTTP status, with Katana's text if it is known."""
    name, message = _API_WORDS.get(status, (f"Error{status}", "Error"))
    return ApiRefusal(status, name, message)


def invalid_query(path: str, code: str, message: str) -> ApiRefusal:
    """Return the refusal of a parameter; `code` is the JSON Schema keyword that failed."""
    detail: dict[str, object] = {"path": path, "code": code, "message": message, "info": {}}
    text = "The request body is invalid. See error object `details` property for more info."
    return ApiRefusal(422, "UnprocessableEntityError", text, (detail,))


_API_WORDS = {
    400: ("BadRequest", "Bad Request"),
    401: ("UnauthorizedError", "Unauthorized"),
    403: ("ForbiddenError", "Forbidden"),
    404: ("NotFoundError", "Not found"),
    429: ("TooManyRequests", "Too Many Requests"),
    500: ("InternalServerError", "Internal Server Error"),
    502: ("BadGateway", "Bad Gateway"),
    503: ("ServiceUnavailable", "Service Unavailable"),
    504: ("GatewayTimeout", "Gateway Timeout"),
}
