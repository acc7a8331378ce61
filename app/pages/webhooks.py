"""The endpoint for Katana's webhook deliveries. A fork that deletes `app/sync/` deletes it too."""

from flask import Blueprint, Response, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from app import sync
from app.accounts.visitor_address import visitor_key
from app.errors import SealBroken
from app.katana.webhooks import DELIVERY_BYTES, SIGNATURE_HEADER
from app.pages.security import csrf
from app.sync import DELIVERY_PATH
from app.sync.receiver import DeliveryRefused

SILENCE_SECONDS = 5.0  # between two parts of a body; Katana itself waits 10 s in all

bp = Blueprint("webhooks", __name__)


@bp.post(f"{DELIVERY_PATH}<key>")
@csrf.exempt  # type: ignore[untyped-decorator]
def deliver(key: str) -> Response:
    """204 when the hint is stored; 404 for all that is not from Katana, without a reason.

    503 makes Katana send it again: the database fails, or the signing token cannot be opened.
    """
    signature = request.headers.get(SIGNATURE_HEADER, "")
    address = visitor_key(request.remote_addr or "")
    try:
        sync.current().receiver.take(key, signature, address, _body)
    except DeliveryRefused:
        return Response("not found\n", 404, content_type="text/plain; charset=utf-8")

    except SealBroken:
        sync.current().subscriptions.check_soon(key)
        return Response("not ready\n", 503, content_type="text/plain; charset=utf-8")

    return Response(status=204)


def _body() -> bytes:
    """The raw body. Raises DeliveryRefused if it is too long, or does not arrive."""
    request.max_content_length = DELIVERY_BYTES
    if sock := request.environ.get("gunicorn.socket"):
        sock.settimeout(SILENCE_SECONDS)
    try:
        return request.get_data(cache=False)
    except (RequestEntityTooLarge, BadRequest, OSError):
        raise DeliveryRefused("the body is too long, or does not come") from None
