"""Seal and open tokens: authenticated encryption, bound to one row and column.

AES-256-GCM. The associated data (AAD) names the format, the key, the table, the column, the row and
the user, so a sealed token that is copied to another row or column does not decrypt (ASVS 11.3.3).

    sealed value = 1 (format) | length of kid | kid | nonce, 12 bytes | ciphertext and tag
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.credentials import TokenKey
from app.errors import SealBroken

FORMAT = 1
NONCE_BYTES = 12


@dataclass(frozen=True)
class AssociatedData:
    """The row, column and user of a sealed value, which decrypts only with the same ones."""

    table: str
    column: str
    row: str
    user: str


class Vault:
    """The keys: the first one encrypts, any of them decrypts."""

    def __init__(self, keys: Sequence[TokenKey]) -> None:
        self._ciphers = {key.kid: AESGCM(key.key) for key in keys}
        self._sealing_kid = keys[0].kid

    def seal(self, text: str, aad: AssociatedData) -> bytes:
        """`text`, encrypted with the first key and bound to `aad`."""
        nonce = os.urandom(NONCE_BYTES)
        kid = self._sealing_kid
        sealed = self._ciphers[kid].encrypt(nonce, text.encode(), _encode(kid, aad))
        return bytes((FORMAT, len(kid))) + kid.encode() + nonce + sealed

    def open(self, sealed: bytes, aad: AssociatedData) -> str:
        """The decrypted text.

        Raises SealBroken if the key is unknown, `aad` is different, or the value was changed.
        """
        kid = sealed_by(sealed)
        if not self.knows(kid):
            raise SealBroken(f"no key {kid!r} in TOKEN_ENCRYPTION_KEYS")

        start = 2 + len(kid)
        nonce, ciphertext = sealed[start : start + NONCE_BYTES], sealed[start + NONCE_BYTES :]
        try:
            return self._ciphers[kid].decrypt(nonce, ciphertext, _encode(kid, aad)).decode()
        except (InvalidTag, ValueError):
            raise SealBroken(f"{aad.table}.{aad.column} does not open with key {kid!r}") from None

    def knows(self, kid: str) -> bool:
        """Whether there is a key with this id."""
        return kid in self._ciphers

    def reseal(self, sealed: bytes, aad: AssociatedData) -> bytes:
        """Encrypt with the first key; returns `sealed` itself if it already has this key."""
        if sealed_by(sealed) == self._sealing_kid:
            return sealed

        return self.seal(self.open(sealed, aad), aad)


def sealed_by(sealed: bytes) -> str:
    """The id of the key that encrypted `sealed`. Raises SealBroken if it is not a sealed value."""
    if len(sealed) < 2 or sealed[0] != FORMAT:
        raise SealBroken("not a sealed value of a known format")

    kid = sealed[2 : 2 + sealed[1]]
    if not kid.isascii():
        raise SealBroken("not a sealed value of a known format")

    return kid.decode()


def _encode(kid: str, aad: AssociatedData) -> bytes:
    # JSON, because it is unambiguous: concatenated strings could be split in several ways.
    return json.dumps([FORMAT, kid, aad.table, aad.column, aad.row, aad.user]).encode()
