"""Settings that are secret: what can be guessed or serves two purposes is refused."""

import base64
import secrets

import pytest

from app.credentials import KEY_BYTES, TokenKey
from app.settings.config import load
from app.settings.parsing import SECRET_CHARACTERS
from tests.support.settings import KEY, SOUND, faults, token_key

WEAK = "ab" * SECRET_CHARACTERS


@pytest.mark.parametrize("name", ["KATANA_CLIENT_ID", "KATANA_CLIENT_SECRET", "SECRET_KEY"])
@pytest.mark.parametrize(
    "value",
    [
        "change-me-0123456789abcdefghijklmnop",
        "CHANGEME0123456789abcdefghijklmnop",
        "your-client-0123456789abcdefghijklm",
        "your_secret_key_0123456789abcdefghi",
        "placeholder-0123456789abcdefghijkl",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ],
)
def test_a_placeholder_is_not_a_value(name: str, value: str) -> None:
    """S-34, S-43: what stands in a sample file does not start the app."""
    assert faults(**{name: value})[0] == f"{name} still holds a placeholder."


def test_a_random_secret_is_not_taken_for_a_placeholder() -> None:
    """What stands in the middle of a secret is chance."""
    assert not faults(KATANA_CLIENT_SECRET="q7XxX2vYourT-0aZkEyLmN8sPw4bHc_RdGfJ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", SOUND["SECRET_KEY"][: SECRET_CHARACTERS - 1]),
        ("SECRET_KEY", WEAK),
        ("SECRET_KEY_FALLBACKS", "short"),
        ("SECRET_KEY_FALLBACKS", f"{SOUND['SECRET_KEY']},{WEAK}"),
        ("TOKEN_ENCRYPTION_KEYS", token_key("k1", bytes(KEY_BYTES))),
        ("METRICS_TOKEN", WEAK),
    ],
)
def test_a_secret_that_can_be_guessed_is_refused(name: str, value: str) -> None:
    """S-43: too short, or few letters over and over; an earlier key signs cookies as well."""
    (fault,) = faults(**{name: value})

    assert fault.startswith(name)
    assert "too easy to guess" in fault


@pytest.mark.parametrize("other", ["KATANA_CLIENT_SECRET", "TOKEN_ENCRYPTION_KEYS"])
def test_a_secret_serves_one_purpose(other: str) -> None:
    """S-43: what signs cookies neither seals tokens nor is known to Katana."""
    key = base64.urlsafe_b64encode(KEY[::-1]).decode()
    shared = {"SECRET_KEY": key, other: f"k1:{key}" if other.startswith("TOKEN") else key}

    assert faults(**shared) == (
        f"SECRET_KEY is the same as in {other}: make it a secret of its own.",
    )


@pytest.mark.parametrize("other", ["SECRET_KEY", "SECRET_KEY_FALLBACKS", "KATANA_CLIENT_SECRET"])
def test_who_reads_metrics_learns_no_other_secret(other: str) -> None:
    """S-43: the token for /metrics stands in Prometheus' settings, and opens nothing else."""
    token = SOUND["SECRET_KEY"][::-1]

    assert faults(**{"METRICS_TOKEN": token, other: token}) == (
        f"METRICS_TOKEN is the same as in {other}: make it a secret of its own.",
    )
    assert load(SOUND | {"METRICS_TOKEN": token}).metrics_token == token


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FLASK_DEBUG", "1"),
        ("FLASK_DEBUG", "True"),
        ("FLASK_TESTING", "yes"),
        ("TESTING", "on"),
        ("AUTHLIB_INSECURE_TRANSPORT", "1"),
        ("AUTHLIB_INSECURE_TRANSPORT", "0"),
        ("OAUTHLIB_INSECURE_TRANSPORT", "false"),
    ],
)
def test_what_developers_use_is_not_for_users(name: str, value: str) -> None:
    """S-74: over https nothing starts with it; on this machine it does no harm."""
    (fault,) = faults(**{name: value})

    assert fault == f"{name} must not be set when the redirect URI uses https."
    assert not faults(
        **{name: value, "KATANA_REDIRECT_URI": "http://localhost:8000/katana/callback"}
    )


@pytest.mark.parametrize("value", ["0", "false", "no", "off", ""])
def test_a_switch_that_is_off_may_be_there(value: str) -> None:
    """S-74: FLASK_DEBUG=0 says what is wanted."""
    assert not faults(FLASK_DEBUG=value)


def test_a_generated_secret_is_never_refused() -> None:
    """What `make .env` and Python's secrets module make is good enough."""
    for _ in range(200):
        secret = secrets.token_urlsafe(48)
        key = token_key("k1", secrets.token_bytes(KEY_BYTES))

        assert not faults(
            SECRET_KEY=secrets.token_hex(32),
            SECRET_KEY_FALLBACKS=f"{secret},{secrets.token_hex(32)}",
            TOKEN_ENCRYPTION_KEYS=key,
        )


def test_the_first_key_of_the_ring_stays_first() -> None:
    """The order of the keys is kept: the first seals."""
    ring = ",".join((token_key("k2", KEY[::-1]), f" {token_key('k1', KEY)} "))

    keys = load(SOUND | {"TOKEN_ENCRYPTION_KEYS": ring}).token_keys

    assert keys == (TokenKey("k2", KEY[::-1]), TokenKey("k1", KEY))


@pytest.mark.parametrize(
    "ring",
    [
        base64.urlsafe_b64encode(KEY).decode(),
        token_key("", KEY),
        token_key("two words", KEY),
        token_key("k" * 21, KEY),
        token_key("k1", KEY[:16]),
        token_key("k1", KEY + KEY),
        token_key("k1", KEY)[:-1],
        "k1:not/base64!",
        "k1:ключ",
    ],
)
def test_a_malformed_key_is_refused(ring: str) -> None:
    """A key is a name and 32 bytes: a typing error must not become a shorter key."""
    assert faults(TOKEN_ENCRYPTION_KEYS=ring) == (
        "TOKEN_ENCRYPTION_KEYS must hold kid:base64 pairs, each of 32 bytes.",
    )


def test_two_keys_may_not_share_a_name() -> None:
    """With two keys of one name, half of what is sealed would not open."""
    ring = f"{token_key('k1', KEY)},{token_key('k1', KEY[::-1])}"

    assert faults(TOKEN_ENCRYPTION_KEYS=ring) == ("TOKEN_ENCRYPTION_KEYS names two keys alike.",)
