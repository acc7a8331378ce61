"""The vault: what is sealed opens in its own place, whole, with its own key, and nowhere else."""

import traceback
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.connections.vault import FORMAT, AssociatedData, Vault, sealed_by
from app.credentials import TokenKey
from app.errors import SealBroken

CANARY = "canary-3f1c9b"
OLD = TokenKey("k1", bytes(range(32)))
NEW = TokenKey("k2", bytes(range(32, 64)))
PLACE = AssociatedData("connections", "sealed_refresh_token", "row-1", "user-1")


def vault(*keys: TokenKey) -> Vault:
    """A vault with these keys; the first seals."""
    return Vault(keys or (OLD,))


@given(st.text(max_size=200), st.text(max_size=20), st.text(max_size=20))
def test_what_is_sealed_opens(text: str, row: str, user: str) -> None:
    """Any text comes back as it was, in any place."""
    place = replace(PLACE, row=row, user=user)

    assert vault().open(vault().seal(text, place), place) == text


def test_what_is_sealed_shows_nothing() -> None:
    """S-40: the text is not in the sealed value, and no two seals of it are alike."""
    sealed = {vault().seal(CANARY, PLACE) for _ in range(100)}

    assert len(sealed) == 100
    assert not any(CANARY.encode() in value for value in sealed)


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(PLACE, table="connect_attempts"),
        replace(PLACE, column="sealed_access_token"),
        replace(PLACE, row="row-2"),
        replace(PLACE, user="user-2"),
        replace(PLACE, row="row-1user", user="-1"),
        replace(PLACE, row='row-1","user-1', user=""),
    ],
    ids=lambda place: f"{place.table}.{place.column} {place.row} {place.user}",
)
def test_it_opens_nowhere_else(elsewhere: AssociatedData) -> None:
    """S-41: copied to another table, column, row or user it is worth nothing."""
    sealed = vault().seal(CANARY, PLACE)

    with pytest.raises(SealBroken):
        vault().open(sealed, elsewhere)


def test_every_flipped_bit_breaks_it() -> None:
    """S-41: whichever bit of format, key name, nonce, text or tag has changed, it does not open."""
    sealed = vault(OLD, NEW).seal(CANARY, PLACE)

    for at in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[at] ^= 1 << bit
            with pytest.raises(SealBroken):
                vault(OLD, NEW).open(bytes(changed), PLACE)


def test_every_cut_breaks_it() -> None:
    """S-41: no part of a sealed value opens, from its beginning or from its end."""
    sealed = vault().seal(CANARY, PLACE)

    for at in range(len(sealed)):
        for part in (sealed[:at], sealed[at + 1 :]):
            with pytest.raises(SealBroken):
                vault().open(part, PLACE)


@given(st.binary(max_size=80))
def test_anything_else_is_broken_too(noise: bytes) -> None:
    """R-24: bytes that were never sealed are told as such, by this one error."""
    with pytest.raises(SealBroken):
        vault().open(noise, PLACE)
    with pytest.raises(SealBroken):
        vault().open(bytes((FORMAT, len(OLD.kid))) + OLD.kid.encode() + noise, PLACE)


@pytest.mark.parametrize("ring", [(NEW, OLD), (OLD, NEW), (OLD,)])
def test_any_key_of_the_ring_opens(ring: Sequence[TokenKey]) -> None:
    """S-42: what an earlier key sealed opens for as long as that key is in the ring."""
    sealed = vault(OLD).seal(CANARY, PLACE)

    assert vault(*ring).open(sealed, PLACE) == CANARY


def test_the_first_key_seals() -> None:
    """S-42: a new key in front seals from now on."""
    assert sealed_by(vault(NEW, OLD).seal(CANARY, PLACE)) == "k2"
    assert sealed_by(vault(OLD, NEW).seal(CANARY, PLACE)) == "k1"


def test_resealing_moves_to_the_first_key() -> None:
    """S-42: re-sealed under the new key it opens without the old one."""
    sealed = vault(OLD).seal(CANARY, PLACE)

    resealed = vault(NEW, OLD).reseal(sealed, PLACE)

    assert sealed_by(resealed) == "k2"
    assert vault(NEW).open(resealed, PLACE) == CANARY
    assert vault(NEW, OLD).reseal(resealed, PLACE) == resealed


def test_resealing_does_not_move_it_to_another_place() -> None:
    """Re-sealing opens first: what does not belong to a place is not made to."""
    sealed = vault(OLD).seal(CANARY, PLACE)

    with pytest.raises(SealBroken):
        vault(NEW, OLD).reseal(sealed, replace(PLACE, user="user-2"))


def test_a_key_that_is_not_there_is_named() -> None:
    """S-42: whoever took a key away too early is told which one to put back."""
    sealed = vault(OLD).seal(CANARY, PLACE)

    with pytest.raises(SealBroken, match="no key 'k1' in TOKEN_ENCRYPTION_KEYS"):
        vault(NEW).open(sealed, PLACE)


def test_another_key_of_the_same_name_does_not_open() -> None:
    """A key is more than its name: a wrong key at deployment opens nothing."""
    sealed = vault(OLD).seal(CANARY, PLACE)

    with pytest.raises(SealBroken):
        vault(replace(NEW, kid=OLD.kid)).open(sealed, PLACE)


def test_a_broken_seal_tells_no_secret() -> None:
    """S-39: neither text nor key is in the error, its traceback, or the vault's own repr."""
    key = TokenKey("k1", b"canary-3f1c9b-canary-3f1c9b-cana")
    sealed = vault(key).seal(CANARY, PLACE)

    with pytest.raises(SealBroken) as told:
        vault(key).open(sealed[:-1] + bytes((sealed[-1] ^ 1,)), PLACE)

    said = "".join(traceback.format_exception(told.value)) + repr(told.value)
    assert CANARY not in said + repr(vault(key)) + repr(key)
    assert "sealed_refresh_token" in said
