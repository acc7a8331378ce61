"""Normalizes e-mail addresses, so that each is stored and compared in one form."""

import unicodedata

import idna
from email_validator import EmailNotValidError, validate_email

CHARACTERS = 254  # RFC 5321 section 4.5.3.1.3, without the angle brackets


def normal_email(email: str | None) -> str:
    """The form in which an e-mail address is stored and compared: lower case, Unicode NFC.

    A domain in punycode is decoded (RFC 5890). An invalid address is normalized as far as possible,
    so that an existing account is found. There is no DNS lookup.
    """
    address = (email or "").strip()
    if len(address) > 2 * CHARACTERS:
        return address.lower()

    try:
        address = validate_email(address, check_deliverability=False).normalized
    except EmailNotValidError:
        address = _spelled_alike(address)
    # NFC again, since lower case can decompose a letter, such as the dotted capital I.
    return unicodedata.normalize("NFC", address.lower())


def _spelled_alike(address: str) -> str:
    """Normalize an address that the package refuses, such as one with a `.local` domain."""
    local, at, domain = unicodedata.normalize("NFC", address).rpartition("@")
    try:
        domain = idna.decode(domain, uts46=True)
    except (idna.IDNAError, UnicodeError):
        domain = domain.lower()
    return f"{local}{at}{domain}"
