"""One spelling of an e-mail address, however a keyboard, a browser or a system sends it."""

import unicodedata

import idna
from email_validator import EmailNotValidError, validate_email

CHARACTERS = 254  # RFC 5321 section 4.5.3.1.3, less the angle brackets


def normal_email(email: str | None) -> str:
    """The one way in which an e-mail address is stored and compared, in lower case.

    Letters are composed (Unicode NFC), and a domain in punycode is written in its own letters
    (RFC 5890). What is no valid address is spelled like one as far as that goes: an account that
    exists must be found. No name is looked up.
    """
    address = (email or "").strip()
    if len(address) > 2 * CHARACTERS:
        return address.lower()

    try:
        address = validate_email(address, check_deliverability=False).normalized
    except EmailNotValidError:
        address = _spelled_alike(address)
    # Once more, since lower case may come apart: a dotted capital I does.
    return unicodedata.normalize("NFC", address.lower())


def _spelled_alike(address: str) -> str:
    """What the package refuses, such as a domain that ends in `.local`."""
    local, at, domain = unicodedata.normalize("NFC", address).rpartition("@")
    try:
        domain = idna.decode(domain, uts46=True)
    except (idna.IDNAError, UnicodeError):
        domain = domain.lower()
    return f"{local}{at}{domain}"
