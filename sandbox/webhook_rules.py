"""Validates the fields of a webhook, including where its deliveries may go."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from sandbox.events import EVENTS
from sandbox.refusals import ApiRefusal, invalid_query
from sandbox.switches import Rules

_FIELDS = ("url", "subscribed_events", "description", "enabled")
_LONGEST_URL = 2048


def checked(sent: object, rules: Rules, *, whole: bool) -> Mapping[str, Any]:
    """Return a webhook's fields as they were sent; `whole`: the required ones must be present.

    :raise ApiRefusal: 422, with the first field that is wrong.
    """
    if not isinstance(sent, dict):
        raise invalid_query("", "type", "should be object")
    for name in ("url", "subscribed_events") if whole else ():
        if name not in sent:
            raise invalid_query("", "required", f"should have required property '{name}'")
    for name in sent:
        if name not in _FIELDS:
            raise invalid_query("", "additionalProperties", "should NOT have additional properties")
    _check_types(sent)
    if "url" in sent:
        _check_url(sent["url"], rules)
    return sent


def is_loopback(url: str) -> bool:
    """Return whether a URL names this machine, the only one that this sandbox posts to."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _check_types(sent: Mapping[str, Any]) -> None:
    if "enabled" in sent and not isinstance(sent["enabled"], bool):
        raise invalid_query(".enabled", "type", "should be boolean")
    if not isinstance(sent.get("description", ""), str | None):
        raise invalid_query(".description", "type", "should be string")
    if "subscribed_events" in sent:
        _check_events(sent["subscribed_events"])


def _check_events(events: object) -> None:
    if not isinstance(events, list):
        raise invalid_query(".subscribed_events", "type", "should be array")
    if not events:
        raise invalid_query(".subscribed_events", "minItems", "should NOT have fewer than 1 items")
    for place, event in enumerate(events):
        if not isinstance(event, str) or event not in EVENTS:
            raise _not_allowed(f".subscribed_events[{place}]")


def _not_allowed(path: str) -> ApiRefusal:
    return invalid_query(path, "enum", "should be equal to one of the allowed values")


def _check_url(url: object, rules: Rules) -> None:
    """Refuse all but https; a rule allows http to this machine, for development."""
    if not isinstance(url, str):
        raise invalid_query(".url", "type", "should be string")
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise invalid_query(".url", "format", 'should match format "uri"') from None
    if not has_host or len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable():
        raise invalid_query(".url", "format", 'should match format "uri"')
    if parts.scheme == "https":
        return
    if parts.scheme != "http" or not (rules.webhooks_over_http and is_loopback(url)):
        raise invalid_query(".url", "pattern", 'should match pattern "^https://"')
