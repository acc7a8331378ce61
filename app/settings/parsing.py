"""Parses and checks each setting. An invalid value raises Fault."""

import base64
import re
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from limits.storage import Storage, storage_from_string
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from app.credentials import KEY_BYTES, TokenKey

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
CALLBACK = "/katana/callback"  # the page that receives Katana's authorization response
SECRET_CHARACTERS = 32
STORE_SECONDS = 2  # time limit of the store of the rate limits
# The start or form of a placeholder that must be replaced. A random secret matches it with
# negligible probability.
PLACEHOLDER = re.compile(r"change.?me|your[-_. ]|placeholder|<|\.\.\.|x+$", re.IGNORECASE)


class Fault(ValueError):
    """What is wrong with a setting, as text after its name. It never contains the value."""


def chosen(value: str) -> str:
    """A value that is not a placeholder."""
    if PLACEHOLDER.match(value):
        raise Fault("still holds a placeholder.")
    return value


def random(secret: str) -> str:
    """A secret that is long and random enough."""
    if len(secret) < SECRET_CHARACTERS or len(set(secret)) < SECRET_CHARACTERS // 4:
        raise Fault(
            f"is too easy to guess: give it at least {SECRET_CHARACTERS} random characters."
        )
    return secret


def words(value: str) -> tuple[str, ...]:
    """A comma-separated list."""
    return tuple(word for word in map(str.strip, value.split(",")) if word)


def url(value: str) -> str:
    """An https URL, or an http URL of this machine."""
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018  reading it is the check
        (parts.hostname or "").encode("idna")  # raises if a label is empty or too long
    except ValueError:
        raise Fault("is not a URL.") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Fault("must begin with https://.")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS:
        raise Fault("must be https: plain http is for this machine only.")
    if parts.fragment or "@" in parts.netloc or not re.fullmatch(r"[!-\[\]-~]+", value):
        raise Fault("must hold no fragment, user name, backslash or space, and plain letters only.")
    return value


def callback(value: str) -> str:
    """The URL of this app's callback."""
    if urlsplit(url(value)).path != CALLBACK:
        raise Fault(f"must end in {CALLBACK}, here and at Katana.")
    return value


def token_keys(value: str) -> tuple[TokenKey, ...]:
    """Keys with different names, at least one."""
    keys = tuple(map(_token_key, words(value)))
    if not keys:
        raise Fault("is not set: `flask keys new` makes one.")
    if len({key.kid for key in keys}) < len(keys):
        raise Fault("names two keys alike.")
    return keys


def database_url(value: str) -> str:
    """The URL of a SQLite file or a PostgreSQL database, as SQLAlchemy reads it."""
    # If no driver is named: psycopg 3.
    value = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", value)
    value = _with_hosts_in_query(value)
    if not re.match(r"sqlite://(/|$)|postgresql\+psycopg://", value):
        raise Fault("must begin with sqlite:/// or postgresql://.")
    if not _is_database_url(value):
        raise Fault("is not a URL: in a password write % as %25, @ as %40, : as %3A and / as %2F.")
    return value


def store(uri: str) -> str:
    """The URI of a store that Flask-Limiter can create."""
    # This connects to no store, except to the nodes of a Redis cluster.
    try:
        usable = isinstance(storage_from_string(uri, **store_options(uri)), Storage)
    except Exception:  # each driver has its own errors, and their texts may contain the password
        usable = False
    if not usable:  # or it is for asyncio
        raise Fault("names a store that cannot be used here: is its driver installed?")
    return uri


def store_options(uri: str) -> dict[str, Any]:
    """Options of the store: failures become StorageError, and Redis gets time limits."""
    options: dict[str, Any] = {"wrap_exceptions": True}
    if uri.startswith("redis"):
        options |= {"socket_connect_timeout": STORE_SECONDS, "socket_timeout": STORE_SECONDS}
    return options


def needs(module: str, requirements: str) -> Callable[[str], str]:
    """Accept any value if `module` is installed."""

    def check(value: str) -> str:
        with suppress(ModuleNotFoundError):  # its parent package is not installed
            if find_spec(module):
                return value
        raise Fault(f"needs the packages of {requirements}.")

    return check


def _token_key(word: str) -> TokenKey:
    kid, _, encoded = word.partition(":")
    try:
        key = base64.b64decode(encoded, altchars=b"-_", validate=True)
    except ValueError:
        key = b""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,20}", kid) or len(key) != KEY_BYTES:
        raise Fault(f"must hold kid:base64 pairs, each of {KEY_BYTES} bytes.")
    if len(set(key)) < KEY_BYTES // 4:
        raise Fault("holds a key that is too easy to guess.")
    return TokenKey(kid, key)


def _is_database_url(value: str) -> bool:
    try:
        host = make_url(value).host or ""
    except (ArgumentError, ValueError):  # their texts contain parts of the password
        return False
    return "@" not in host  # else an `@` in the password was taken as its end


def _with_hosts_in_query(url: str) -> str:
    """Convert libpq's `//user@one:5432,two:5433/name` to the form that SQLAlchemy accepts."""
    parts = re.fullmatch(
        r"(postgresql\+psycopg://(?:[^@/]*@)?)([^@/?]*,[^@/?]*)(/[^?]*)?(\?.*)?", url
    )
    if parts is None:
        return url

    start, hosts, path, query = parts.groups("")
    named = "&".join(f"host={quote(unquote(host), safe='[]:.-')}" for host in hosts.split(","))
    return f"{start}{path or '/'}?{named}{'&' + query[1:] if query else ''}"
