"""Applies a fault to a request: before it is handled, or to its response.

To lose a response, the socket is shut down under the server. The client then sees a closed
connection, as if the server had died after it handled the request. This needs Werkzeug's own
server, which passes its socket in the environ.
"""

import json
import socket
from collections.abc import Iterator
from http import HTTPStatus

from flask import Response, request

from sandbox.clock import Clock
from sandbox.faults import Fault
from sandbox.refusals import api_refusal, bad_code, bad_refresh_token
from sandbox.state import sandbox

_SECONDS_PER_BYTE = 0.5
_AUTH0_LIMIT_TEXT = (
    "Too many requests. Check the X-RateLimit-Limit, X-RateLimit-Remaining and "
    "X-RateLimit-Reset headers."
)


def before(fault: Fault, kind: str) -> Response | None:
    """Return the response that replaces the handling; None to handle the request.

    :raise LoginRefusal, ApiRefusal: the fault is a refusal of the login or the API.
    """
    match fault.fault:
        case "drop_before":
            _hang_up()
            return Response(status=503)
        case "slow":
            sandbox().clock.sleep(fault.seconds)
        case "status":
            return _failure(fault, kind)
        case "redirect":
            location = fault.location or f"{request.host_url}elsewhere"
            return Response(status=307, headers={"Location": location})
        case "body":
            text = fault.text or "<!doctype html><title>Please wait</title>"
            return Response(text, content_type=fault.content_type or "text/html")
        case "invalid_grant" if kind == "exchange":
            raise bad_code("refused for no reason; nothing changed")
        case "invalid_grant":
            raise bad_refresh_token(None, "refused for no reason; nothing changed")
    return None


def after(fault: Fault, response: Response) -> Response:
    """Return the response with the fault applied."""
    match fault.fault:
        case "lose_answer":
            _hang_up()
        case "drip":
            data = response.get_data()
            response.response = _drip(data, sandbox().clock)
        case "omit" if response.is_json and response.status_code < HTTPStatus.BAD_REQUEST:
            response.set_data(json.dumps(_without(fault.fields, response.get_json())))
    return response


def _hang_up() -> None:
    """Shut the connection down under the server: what it still writes is lost."""
    connection: socket.socket = request.environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)


def _drip(data: bytes, clock: Clock) -> Iterator[bytes]:
    for byte in data:
        clock.sleep(_SECONDS_PER_BYTE)
        yield bytes([byte])


def _failure(fault: Fault, kind: str) -> Response:
    """Return a response with the fault's status, in the format of the login or the API."""
    headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
    if fault.text is not None:
        content_type = fault.content_type or "text/plain"
        return Response(fault.text, fault.status, headers, content_type=content_type)
    if kind == "api":
        return api_refusal(fault.status).answer(sandbox().memory.rules.error_shape, headers)
    if fault.status == HTTPStatus.TOO_MANY_REQUESTS:
        reset = int(sandbox().clock.now().timestamp()) + 30
        headers |= {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "0"}
        headers |= {"X-RateLimit-Reset": str(reset)}  # seconds here, unlike the API's
        return Response(_AUTH0_LIMIT_TEXT, 429, headers, content_type="text/plain")

    return Response(_reason(fault.status), fault.status, headers, content_type="text/plain")


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Failed"


def _without(fields: tuple[str, ...], body: object) -> object:
    """Return a JSON body without these fields, also in the items of a list of `data`."""
    if isinstance(body, list):
        return [_without(fields, item) for item in body]
    if not isinstance(body, dict):
        return body

    kept = {name: value for name, value in body.items() if name not in fields}
    return kept | {"data": _without(fields, kept["data"])} if "data" in kept else kept
