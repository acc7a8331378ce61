"""Passwords: which are taken, and how they are kept."""

import os
from threading import BoundedSemaphore

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

SHORTEST, LONGEST = 10, 200
# What OWASP's password storage page asks of Argon2id at least.
MEMORY_KIB, PASSES, LANES = 19456, 2, 1
PREFIX = f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$"
# Each hash takes its 19 MiB: a rush of sign-ins queues here instead of filling the memory.
_at_once = BoundedSemaphore(4)

#: The commonest passwords that are long enough to get this far.
_COMMON = """
    0123456789 1234567890 0987654321 9876543210 12345678910 123456789a 1234567891 123123123123
    1q2w3e4r5t q1w2e3r4t5 1qaz2wsx3edc 1qazxsw23edc zaq12wsxcde3 qazwsxedcrfv qwertyuiop
    qwertyuiop123 qwerty123456 qwerty12345 qwertyqwerty asdfghjkl123 asdfghjklzxcvbnm abcdefghij
    abcdefghijk abcd123456 abc123456789 password10 password12 password123 password1234
    password12345 password123456 passwordpassword passw0rd123 p@ssw0rd123 mypassword iloveyou12
    iloveyou123 iloveyouforever letmein123 letmein1234 welcome123 welcome1234 changeme123
    administrator admin12345 admin123456 trustno1trustno1 princess123 football123 baseball123
    sunshine123 superman123 dragon12345 monkey12345 michael123 charlie123 liverpool1 chocolate1
"""


def fault(password: str, email: str) -> str | None:
    """What is wrong with `password` for this account, as a sentence; None where nothing is."""
    if len(password) < SHORTEST:
        return f"Use at least {SHORTEST} characters."

    if len(password) > LONGEST:
        return f"Use at most {LONGEST} characters."

    if password.lower() in _COMMON.split() or len(set(password)) < SHORTEST // 2:
        return "This password is among the first that somebody would try. Choose another one."

    if len(_beyond_the_obvious(password, email)) < SHORTEST:
        return "Do not build it on your e-mail address or the word Katana, or make it longer."

    return None


def hashed(password: str) -> str:
    """The text to store for `password`, with its salt and costs."""
    with _at_once:
        return _argon2id(os.urandom(16)).derive_phc_encoded(password.encode())


def matches(password: str, stored: str | None) -> bool:
    """Whether `password` is the one that `stored` was made from.

    None, for an account that does not exist, takes as long as a wrong password.
    """
    with _at_once:
        try:
            Argon2id.verify_phc_encoded(password.encode(), stored or _NOBODYS)
        except InvalidKey:
            return False
    return stored is not None


def outdated(stored: str) -> bool:
    """Whether `stored` was made with other costs than today's."""
    return not stored.startswith(PREFIX)


def _beyond_the_obvious(password: str, email: str) -> str:
    rest = password.lower()
    for word in (email.partition("@")[0], "katana"):
        rest = rest.replace(word, "") if len(word) > 2 else rest
    return rest


def _argon2id(salt: bytes) -> Argon2id:
    return Argon2id(salt=salt, length=32, iterations=PASSES, lanes=LANES, memory_cost=MEMORY_KIB)


#: The costs of a real one, and no password behind it.
_NOBODYS = f"{PREFIX}{'A' * 22}${'A' * 43}"
