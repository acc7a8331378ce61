"""Read one setting after the other, and note what is wrong instead of stopping."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from limits.storage import Storage, storage_from_string
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
KEY_BYTES = 32
STORE_SECONDS = 2  # for the store of the limits to answer
# How a value begins that somebody was meant to replace. A random secret begins so by no chance that
# matters.
PLACEHOLDER = re.compile(r"change.?me|your[-_. ]|placeholder|<|\.\.\.|x+$", re.IGNORECASE)
#: What belongs on a developer's machine: with an https redirect URI nothing starts beside it.
SWITCHES_OF_DEVELOPERS = ("FLASK_DEBUG", "FLASK_TESTING", "TESTING")
#: The same; whoever reads these looks only whether they are there, whatever their value.
TRAPDOORS_OF_DEVELOPERS = ("AUTHLIB_INSECURE_TRANSPORT", "OAUTHLIB_INSECURE_TRANSPORT")


@dataclass(frozen=True)
class TokenKey:
    """A key that seals tokens, and its name."""

    kid: str
    key: bytes = field(repr=False)


class Reader:
    """Gives each value in its type. `faults` gets a sentence for each that is wrong, never a value.

    What is wrong comes back as something that harms nobody: whoever reads looks at `faults` in the
    end.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values
        self.faults: list[str] = []

    def fault(self, name: str, sentence: str) -> None:
        """Note what is wrong with the setting `name`."""
        self.faults.append(f"{name} {sentence}")

    def optional(self, name: str) -> str | None:
        """Its text; None where it is not set."""
        return self.values[name] or None

    def required(self, name: str) -> str:
        """Its text, which must be there and no placeholder."""
        if not self.values[name]:
            self.fault(name, "is not set.")
        elif PLACEHOLDER.match(self.values[name]):
            self.fault(name, "still holds a placeholder.")
        return self.values[name]

    def secret(self, name: str, characters: int) -> str:
        """Its text, which must be long and random."""
        value = self.required(name)
        if value:
            self._check_strength(name, value, characters)
        return value

    def optional_secret(self, name: str, characters: int) -> str | None:
        """The same; None where it is not set."""
        return self.secret(name, characters) if self.values[name] else None

    def secrets(self, name: str, characters: int) -> tuple[str, ...]:
        """A comma-separated list of such secrets, which may be empty."""
        for value in self.words(name):
            self._check_strength(name, value, characters)
        return self.words(name)

    def words(self, name: str) -> tuple[str, ...]:
        """A comma-separated list."""
        return tuple(word for word in map(str.strip, self.values[name].split(",")) if word)

    def switch(self, name: str) -> bool:
        """Whether it is on."""
        if self.values[name].lower() not in {"on", "off"}:
            self.fault(name, "must be on or off.")
        return self.values[name].lower() == "on"

    def whole(self, name: str, most: int) -> int:
        """A whole number from 0 to `most`."""
        value = self.values[name]
        if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) > most:
            self.fault(name, f"must be a whole number from 0 to {most}.")
            return 0
        return int(value)

    def url(self, name: str, *, optional: bool = False) -> str:
        """An https URL, or an http one of this machine; "" where it is none."""
        value = self.values[name]
        if not value and optional:
            return ""
        if not value:
            self.fault(name, "is not set.")
        elif trouble := _trouble_with_url(value):
            self.fault(name, trouble)
            return ""
        return value

    def log_level(self, name: str) -> str:
        """The name of a level of `logging`."""
        if self.values[name].upper() not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
            self.fault(name, "must be DEBUG, INFO, WARNING, ERROR or CRITICAL.")
            return "INFO"
        return self.values[name].upper()

    def log_format(self, name: str) -> str | None:
        """`json`, `text`, or None where it is not set."""
        if self.values[name].lower() not in {"", "json", "text"}:
            self.fault(name, "must be json or text.")
            return None
        return self.values[name].lower() or None

    def database_url(self, name: str) -> str:
        """The URL of a SQLite file or a PostgreSQL database, as SQLAlchemy reads it."""
        # Without a driver's name: psycopg 3.
        value = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", self.values[name])
        value = _with_hosts_in_query(value)
        if not re.match(r"sqlite://(/|$)|postgresql\+psycopg://", value):
            self.fault(name, "must begin with sqlite:/// or postgresql://.")
        elif not _is_database_url(value):
            self.fault(
                name,
                "is not a URL: in a password write % as %25, @ as %40, : as %3A and / as %2F.",
            )
        return value

    def store(self, name: str) -> str | None:
        """The URI of a store for Flask-Limiter that can be made; None where it is not set."""
        value = self.optional(name)
        if value and not _makes_a_store(value):
            self.fault(name, "names a store that cannot be used here: is its driver installed?")
        return value

    def collector(self, name: str) -> str | None:
        """The URL of an OpenTelemetry collector; None where it is not set.

        It may be http on another machine: a span holds no secret.
        """
        value = self.optional(name)
        if value and not re.fullmatch(
            r"https?://[A-Za-z0-9.\[\]:-]+(?:/[A-Za-z0-9._~/-]*)?", value
        ):
            self.fault(name, "must begin with http:// or https://, and hold no user name or query.")
            return None
        if value and not _is_installed("opentelemetry.exporter.otlp.proto.http"):
            self.fault(name, "needs the packages of requirements-tracing.txt.")
            return None
        return value

    def broker(self, name: str) -> str | None:
        """The URL of a message broker for Celery; None where it is not set."""
        value = self.optional(name)
        if value and not re.match(r"(redis|rediss|sentinel|amqp|amqps)://[!-~]+$", value):
            self.fault(
                name, "must begin with redis://, rediss://, sentinel://, amqp:// or amqps://."
            )
            return None
        if value and not _is_installed("celery"):
            self.fault(name, "needs the packages of requirements-celery.txt.")
            return None
        return value

    def token_keys(self, name: str) -> tuple[TokenKey, ...]:
        """A ring of keys with different names, at least one."""
        keys = tuple(filter(None, map(self._token_key(name), self.words(name))))
        if not self.words(name):
            self.fault(name, "is not set: `flask keys new` makes one.")
        if len({key.kid for key in keys}) < len(keys):
            self.fault(name, "names two keys alike.")
        return keys

    def refuse_reuse(self, name: str, *others: str) -> None:
        """One leak must not open two doors: what `name` holds stands in none of the others."""
        for other in others:
            if self.values[name] and self.values[name] in self.values[other]:
                self.fault(name, f"is the same as in {other}: make it a secret of its own.")

    def refuse_what_developers_use(self) -> None:
        """Note each switch that is fit for a developer's machine only."""
        for name in SWITCHES_OF_DEVELOPERS:
            if self.values.get(name, "0").lower() not in {"0", "false", "no", "off"}:
                self.fault(name, "is on, and the redirect URI is https: take it away.")
        for name in TRAPDOORS_OF_DEVELOPERS:
            if name in self.values:
                self.fault(name, "is set, whatever to, and the redirect URI is https: unset it.")

    def _check_strength(self, name: str, value: str, characters: int) -> None:
        if len(value) < characters or len(set(value)) < characters // 4:
            self.fault(
                name, f"is too easy to guess: give it at least {characters} random characters."
            )

    def _token_key(self, name: str) -> Callable[[str], TokenKey | None]:
        def read(word: str) -> TokenKey | None:
            kid, _, encoded = word.partition(":")
            try:
                key = base64.b64decode(encoded, altchars=b"-_", validate=True)
            except (binascii.Error, ValueError):
                key = b""
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,20}", kid) or len(key) != KEY_BYTES:
                self.fault(name, f"must hold kid:base64 pairs, each of {KEY_BYTES} bytes.")
                return None
            if len(set(key)) < KEY_BYTES // 4:
                self.fault(name, "holds a key that is too easy to guess.")
            return TokenKey(kid, key)

        return read


def _is_database_url(value: str) -> bool:
    try:
        host = make_url(value).host or ""
    except (ArgumentError, ValueError):  # their texts hold parts of the password
        return False
    return "@" not in host  # else the end of the password is taken for the host's beginning


def store_options(uri: str) -> dict[str, Any]:
    """How the store of the limits is used: failures are StorageError, and Redis has time limits."""
    options: dict[str, Any] = {"wrap_exceptions": True}
    if uri.startswith("redis"):
        options |= {"socket_connect_timeout": STORE_SECONDS, "socket_timeout": STORE_SECONDS}
    return options


def _with_hosts_in_query(url: str) -> str:
    """`//user@one:5432,two:5433/name`, as libpq writes several hosts, as SQLAlchemy reads them."""
    parts = re.fullmatch(
        r"(postgresql\+psycopg://(?:[^@/]*@)?)([^@/?]*,[^@/?]*)(/[^?]*)?(\?.*)?", url
    )
    if parts is None:
        return url

    start, hosts, path, query = parts.groups("")
    named = "&".join(f"host={quote(unquote(host), safe='[]:.-')}" for host in hosts.split(","))
    return f"{start}{path or '/'}?{named}{'&' + query[1:] if query else ''}"


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _makes_a_store(uri: str) -> bool:
    # Nobody is asked but the nodes of a cluster, which its driver wants to know at once.
    try:
        store = storage_from_string(uri, **store_options(uri))
    except Exception:  # each driver has errors of its own, and their texts may hold the password
        return False
    return isinstance(store, Storage)  # and not one for asyncio


def _trouble_with_url(value: str) -> str | None:
    try:
        url: SplitResult = urlsplit(value)
        url.port  # noqa: B018  reading it is the check
        (url.hostname or "").encode("idna")  # raises where a label is empty or too long
    except ValueError:
        return "is not a URL."
    if url.scheme not in {"http", "https"} or not url.hostname:
        return "must begin with https://."
    if url.scheme == "http" and url.hostname not in LOOPBACK_HOSTS:
        return "must be https: plain http is for this machine only."
    if url.fragment or "@" in url.netloc or not re.fullmatch(r"[!-\[\]-~]+", value):
        return "must hold no fragment, user name, backslash or space, and plain letters only."
    return None
