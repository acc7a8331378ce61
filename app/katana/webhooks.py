"""Katana's webhooks: register them, verify the signature of a delivery, parse it.

Sources: developer.katanamrp.com/reference/webhooks and /createwebhook, and Katana's guide to
verifying a signature. A delivery has no time and no id, so a repeated one cannot be recognized: use
it only as a hint to read the record again. Functions that take an `api` raise what
`KatanaApi.request` raises.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from app.errors import ApiUnavailable
from app.katana.client import KatanaApi, integer
from app.katana.fields import Unreadable, number, required

SIGNATURE_HEADER = "X-Sha2-Signature"
DELIVERY_BYTES = 64 * 1024
DESCRIPTION = "Keeps the connected app up to date"


@dataclass(frozen=True)
class Delivery:
    """A change that Katana reports. `record_id` is None if the delivery has no valid id."""

    action: str
    record_id: int | None


@dataclass(frozen=True)
class Registered:
    """A webhook as it is registered at Katana."""

    id: int
    url: str
    #: The secret key of its signatures.
    token: str = field(repr=False)
    enabled: bool
    events: frozenset[str]


def is_signed(body: bytes, signature: str, token: str) -> bool:
    """Whether `signature` is the hexadecimal HMAC-SHA256 of the raw body, in constant time."""
    expected = hmac.new(token.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode("latin-1", "replace"))


def read_delivery(body: bytes) -> Delivery:
    """Parse a delivery; verify its signature first. Raises Unreadable.

    Its `href` is ignored: the access token is sent only to the configured API.
    """
    try:
        delivery = json.loads(body, parse_int=integer)
    except (ValueError, RecursionError):
        raise Unreadable("the body is not JSON") from None
    action = delivery.get("action") if isinstance(delivery, dict) else None
    if not isinstance(action, str):
        raise Unreadable("the body has no action")

    return Delivery(action, _record_id(delivery.get("object")))


def registered(api: KatanaApi) -> Iterator[Registered]:
    """The webhooks of the connected account, also those of other apps."""
    for record in api.records("/webhooks"):
        try:
            yield _read(record)
        except Unreadable:
            continue  # this app did not register it


def register(api: KatanaApi, url: str, events: Iterable[str]) -> Registered:
    """Create a webhook. Raises ApiForbidden if the user's role or plan does not allow webhooks."""
    body = {"url": url, "subscribed_events": sorted(events), "description": DESCRIPTION}
    return _from_response(api.request("POST", "/webhooks", body=body).content)


def repair(api: KatanaApi, webhook_id: int, events: Iterable[str]) -> Registered:
    """Enable a webhook and set its events."""
    body = {"enabled": True, "subscribed_events": sorted(events)}
    return _from_response(api.request("PATCH", f"/webhooks/{webhook_id}", body=body).content)


def delete(api: KatanaApi, webhook_id: int) -> None:
    """Delete a webhook."""
    api.request("DELETE", f"/webhooks/{webhook_id}")


def _record_id(record: object) -> int | None:
    try:
        return number(record, "id") if isinstance(record, dict) else None
    except Unreadable:
        return None


def _from_response(content: bytes) -> Registered:
    try:
        return _read(json.loads(content))
    except (ValueError, RecursionError):  # Unreadable is a ValueError
        raise ApiUnavailable("Katana's response is not a webhook") from None


def _read(record: Any) -> Registered:
    if not isinstance(record, dict):
        raise Unreadable("a webhook is not an object")

    url, token, events = record.get("url"), record.get("token"), record.get("subscribed_events")
    if not isinstance(url, str) or not isinstance(token, str) or not token:
        raise Unreadable("a webhook has no url or no token")

    named = events if isinstance(events, list) else []
    known = frozenset(event for event in named if isinstance(event, str))
    return Registered(required(record, "id"), url, token, record.get("enabled") is not False, known)
