"""Katana's webhooks: how they are registered, and how a delivery is signed and read.

Sources: developer.katanamrp.com/reference/webhooks and /createwebhook, and Katana's guide to
verifying a signature. A delivery bears no time and no id, so an old one cannot be told from a new
one: take it as a hint to read the record again.
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
    """What Katana says has happened; `record_id` is None where the delivery names no usable id."""

    action: str
    record_id: int | None


@dataclass(frozen=True)
class Registered:
    """A webhook as Katana has it."""

    id: int
    url: str
    #: The key of its signatures.
    token: str = field(repr=False)
    enabled: bool
    events: frozenset[str]


def is_signed(body: bytes, signature: str, token: str) -> bool:
    """Whether `signature` is the hexadecimal HMAC-SHA256 of the raw body, in constant time."""
    expected = hmac.new(token.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode("latin-1", "replace"))


def read_delivery(body: bytes) -> Delivery:
    """What a delivery says; verify its signature first. Raises Unreadable.

    Its `href` is ignored: the access token is sent to the configured API alone.
    """
    try:
        said = json.loads(body, parse_int=integer)
    except (ValueError, RecursionError):
        raise Unreadable("the body is no JSON") from None
    action = said.get("action") if isinstance(said, dict) else None
    if not isinstance(action, str):
        raise Unreadable("the body has no action")

    return Delivery(action, _record_id(said.get("object")))


def registered(api: KatanaApi) -> Iterator[Registered]:
    """The webhooks of the connected account, those of other apps among them. Raises as the API."""
    for record in api.records("/webhooks"):
        try:
            yield _read(record)
        except Unreadable:
            continue  # not one that this app has made


def register(api: KatanaApi, url: str, events: Iterable[str]) -> Registered:
    """Make a webhook. Raises as the API: ApiForbidden where the user's role or plan has none."""
    asked = {"url": url, "subscribed_events": sorted(events), "description": DESCRIPTION}
    return _answered(api.request("POST", "/webhooks", body=asked).content)


def repair(api: KatanaApi, webhook_id: int, events: Iterable[str]) -> Registered:
    """Enable a webhook, and let it have these events. Raises as the API."""
    asked = {"enabled": True, "subscribed_events": sorted(events)}
    return _answered(api.request("PATCH", f"/webhooks/{webhook_id}", body=asked).content)


def delete(api: KatanaApi, webhook_id: int) -> None:
    """Delete a webhook. Raises as the API."""
    api.request("DELETE", f"/webhooks/{webhook_id}")


def _record_id(record: object) -> int | None:
    try:
        return number(record, "id") if isinstance(record, dict) else None
    except Unreadable:
        return None


def _answered(content: bytes) -> Registered:
    try:
        return _read(json.loads(content))
    except (ValueError, RecursionError):  # Unreadable is a ValueError
        raise ApiUnavailable("Katana answered with something that is no webhook") from None


def _read(record: Any) -> Registered:
    if not isinstance(record, dict):
        raise Unreadable("a webhook is no record")

    url, token, events = record.get("url"), record.get("token"), record.get("subscribed_events")
    if not isinstance(url, str) or not isinstance(token, str) or not token:
        raise Unreadable("a webhook has no url or no token")

    named = events if isinstance(events, list) else []
    known = frozenset(event for event in named if isinstance(event, str))
    return Registered(required(record, "id"), url, token, record.get("enabled") is not False, known)
