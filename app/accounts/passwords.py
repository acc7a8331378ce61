"""Passwords: which are accepted, and how they are hashed."""

import os
import re
import unicodedata
from threading import BoundedSemaphore

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from zxcvbn import zxcvbn  # type: ignore[import-untyped]

SHORTEST, LONGEST = 10, 200
# The minimum for Argon2id in OWASP's Password Storage Cheat Sheet.
MEMORY_KIB, PASSES, LANES = 19456, 2, 1
PREFIX = f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$"
# Each hash uses 19 MiB: many sign-ins at once wait here, so that memory is not used up.
_at_once = BoundedSemaphore(4)

# How many guesses a password must withstand, as a power of ten: zxcvbn's "safely unguessable".
GUESSES_LOG10 = 8
# zxcvbn is very slow for long passwords, so it gets only the start, in two pieces.
PIECE, PIECES = 16, 2


def fault(password: str, email: str) -> str | None:
    """Why `password` is not accepted for this account, as a sentence; None if it is accepted."""
    password = _prepared(password)
    if len(password) < SHORTEST:
        return f"Use at least {SHORTEST} characters."

    if len(password) > LONGEST:
        return f"Use at most {LONGEST} characters."

    if _is_easily_guessed(password):
        if len(password) > PIECE * PIECES:  # the rest was not checked
            return "This password begins too simply. Choose another one."
        return "This password is among the first that somebody would try. Choose another one."

    if len(_beyond_the_obvious(password, email)) < SHORTEST:
        return "Do not build it on your e-mail address or the word Katana, or make it longer."

    return None


def hashed(password: str) -> str:
    """The text to store for `password`, with its salt and costs."""
    with _at_once:
        return _argon2id(os.urandom(16)).derive_phc_encoded(_prepared(password).encode())


def matches(password: str, stored: str | None) -> bool:
    """Whether `password`, in any of its Unicode forms, matches the hash `stored`.

    `stored` is None if the account does not exist. This takes as long as a wrong password.
    """
    found = any(_verifies(spelling, stored or _NOBODYS) for spelling in _spellings(password))
    return found and stored is not None


def respelled(password: str, stored: str) -> bool:
    """Whether the matching hash `stored` was made from another Unicode form of `password`."""
    spellings = _spellings(password)
    return len(spellings) > 1 and not _verifies(spellings[0], stored)


def outdated(stored: str) -> bool:
    """Whether `stored` was made with other costs than the current ones."""
    return not stored.startswith(PREFIX)


def _prepared(password: str) -> str:
    """The form of a password that is checked and hashed: NFC, each space an ASCII space.

    RFC 8265 section 4.2.1, NIST SP 800-63B section 3.1.1.2. The same keys give different code
    points on different systems.
    """
    spaced = "".join(" " if unicodedata.category(c) == "Zs" else c for c in password)
    return unicodedata.normalize("NFC", spaced)


def _spellings(password: str) -> list[str]:
    """The prepared form, then the forms that earlier versions of this app may have hashed."""
    composed = unicodedata.normalize("NFC", password)
    decomposed = unicodedata.normalize("NFD", password)
    return list(dict.fromkeys((_prepared(password), password, composed, decomposed)))


def _verifies(password: str, stored: str) -> bool:
    with _at_once:
        try:
            Argon2id.verify_phc_encoded(password.encode(), stored)
        except InvalidKey:
            return False
    return True


def _is_easily_guessed(password: str) -> bool:
    """Whether it is easy to guess: a common word, one with a year, a row of keys, and so on."""
    withstood = 0.0
    for start in range(0, min(len(password), PIECE * PIECES), PIECE):
        withstood += float(zxcvbn(password[start : start + PIECE])["guesses_log10"])
        if withstood >= GUESSES_LOG10:
            return False
    return True


def _beyond_the_obvious(password: str, email: str) -> str:
    rest = password.lower()
    for word in (email.partition("@")[0], *re.split("[@.]", email), "katana"):
        rest = rest.replace(word, "") if len(word) > 2 else rest
    return rest


def _argon2id(salt: bytes) -> Argon2id:
    return Argon2id(salt=salt, length=32, iterations=PASSES, lanes=LANES, memory_cost=MEMORY_KIB)


#: A hash with the usual costs that no password matches.
_NOBODYS = f"{PREFIX}{'A' * 22}${'A' * 43}"
