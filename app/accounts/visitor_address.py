"""The network address of a visitor, as a key for limits."""

import logging
import re
from ipaddress import IPv6Address, ip_address, ip_network

logger = logging.getLogger(__name__)

#: How proxies write an address in X-Forwarded-For: with a port, in brackets, with a zone (RFC 7239
#: section 6, RFC 4007 section 11).
_IPV4 = re.compile(r"([0-9.]+)(?::[0-9]{1,5})?")
_IPV6 = re.compile(r"\[?([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)(?:%[^\]]*)?(?:\](?::[0-9]{1,5})?)?")


def visitor_key(text: str) -> str:
    """The address in `text`; for IPv6 the /64 network, because one household has 2^64 addresses.

    Text without an address is used as a key itself, and is logged. Visitors behind a proxy that
    hides addresses share a limit only if it sends the same text for all of them.
    """
    network = address_in(text)
    if network is None:
        logger.warning("a visitor's address could not be read, as PROXY_HOPS has it: %.60r", text)
        return f"unreadable {text[:60]}"
    return network


def address_in(text: str) -> str | None:
    """The address, or the /64 network of an IPv6 address; None if there is none in `text`."""
    found = _IPV4.fullmatch(text.strip()) or _IPV6.fullmatch(text.strip())
    if found is None:
        return None

    try:
        address = ip_address(found[1])
    except ValueError:
        return None
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ip_network((address, 64), strict=False))
