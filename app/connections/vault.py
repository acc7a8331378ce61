"""Seal and open tokens: encryption with associated data, for one row and column.

AES-256-GCM. The associated data names the format, the key, the table, the column, the row and the
user, so that a sealed token copied to another row or column does not open there (ASVS 11.3.3).

    sealed value = 1 (format) | length of kid | kid | nonce, 12 bytes | ciphertext and tag
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.errors import SealBroken
from app.settings.parsing import TokenKey

FORMAT = 1
NONCE_BYTES = 12


@dataclass(frozen=True)
class Place:
    """The associated data of a sealed value: it decrypts for this row and column only."""

    table: str
    column: str
    row: str
    user: str


class Vault:
    """The keys: the first one encrypts, any of them decrypts."""

    def __init__(self, keys: Sequence[TokenKey]) -> None:
        self._ciphers = {key.kid: AESGCM(key.key) for key in keys}
        self._sealing_kid = keys[0].kid

    def seal(self, text: str, place: Place) -> bytes:
        """`text`, sealed with the first key for `place`."""
        nonce = os.urandom(NONCE_BYTES)
        kid = self._sealing_kid
        sealed = self._ciphers[kid].encrypt(nonce, text.encode(), _associated_data(kid, place))
        return bytes((FORMAT, len(kid))) + kid.encode() + nonce + sealed

    def open(self, sealed: bytes, place: Place) -> str:
        """The text that was sealed for `place`.

        Raises SealBroken where the key is unknown, the place is another, or a bit has changed.
        """
        kid = sealed_by(sealed)
        if not self.knows(kid):
            raise SealBroken(f"no key {kid!r} in TOKEN_ENCRYPTION_KEYS")

        start = 2 + len(kid)
        nonce, ciphertext = sealed[start : start + NONCE_BYTES], sealed[start + NONCE_BYTES :]
        try:
            return (
                self._ciphers[kid].decrypt(nonce, ciphertext, _associated_data(kid, place)).decode()
            )
        except (InvalidTag, ValueError):
            raise SealBroken(
                f"{place.table}.{place.column} does not open with key {kid!r}"
            ) from None

    def knows(self, kid: str) -> bool:
        """Whether there is a key of this name."""
        return kid in self._ciphers

    def reseal(self, sealed: bytes, place: Place) -> bytes:
        """The same text under the first key; `sealed` itself where that is the key already."""
        if sealed_by(sealed) == self._sealing_kid:
            return sealed

        return self.seal(self.open(sealed, place), place)


def sealed_by(sealed: bytes) -> str:
    """The name of the key that `sealed` needs. Raises SealBroken where it is no sealed value."""
    if len(sealed) < 2 or sealed[0] != FORMAT:
        raise SealBroken("not a sealed value of a known format")

    kid = sealed[2 : 2 + sealed[1]]
    if not kid.isascii():
        raise SealBroken("not a sealed value of a known format")

    return kid.decode()


def _associated_data(kid: str, place: Place) -> bytes:
    # JSON, since a list of strings has one reading only.
    return json.dumps([FORMAT, kid, place.table, place.column, place.row, place.user]).encode()
