"""Environment in, checked settings out; everything that is wrong is reported at once."""

import base64
import binascii
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from dotenv import dotenv_values

from app.errors import ConfigurationError

ROOT = Path(__file__).resolve().parent.parent
INSTANCE = ROOT / "instance"
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

#: Every setting, and what stands when it is not set. A secret has nothing to stand.
SETTINGS: Mapping[str, str] = {
    "KATANA_CLIENT_ID": "",
    "KATANA_CLIENT_SECRET": "",
    "KATANA_REDIRECT_URI": "",
    "KATANA_AUTHORIZE_URL": "https://login.katanamrp.com/authorize",
    "KATANA_ACCESS_TOKEN_URL": "https://login.katanamrp.com/oauth/token",
    "KATANA_REVOKE_URL": "",
    "KATANA_API_BASE_URL": "https://api.katanamrp.com/v1",
    "KATANA_AUDIENCE": "https://api.katanamrp.com",
    "KATANA_ISSUER": "",
    "KATANA_PKCE": "on",
    "KATANA_ROTATION_OVERLAP_SECONDS": "0",
    "SECRET_KEY": "",
    "SECRET_KEY_FALLBACKS": "",
    "TOKEN_ENCRYPTION_KEYS": "",
    "DATABASE_URL": f"sqlite:///{INSTANCE / 'app.db'}",
    "TRUSTED_HOSTS": "",
    "PROXY_HOPS": "0",
    "RATELIMIT_STORAGE_URI": "",
    "LOG_LEVEL": "INFO",
    "LOG_FORMAT": "",
    "METRICS_TOKEN": "",
}
# How a value begins that somebody was meant to replace. A random secret begins so by no chance that
# matters.
PLACEHOLDER = re.compile(r"change.?me|your[-_. ]|placeholder|<|\.\.\.|x+$", re.IGNORECASE)
#: What belongs on a developer's machine: with an https redirect URI nothing starts beside it.
SWITCHES_OF_DEVELOPERS = ("FLASK_DEBUG", "FLASK_TESTING", "TESTING")
#: The same; who reads these looks only whether they are there, whatever their value.
TRAPDOORS_OF_DEVELOPERS = ("AUTHLIB_INSECURE_TRANSPORT", "OAUTHLIB_INSECURE_TRANSPORT")
KEY_BYTES = 32
SECRET_KEY_CHARACTERS = 32
FORM_BYTES = 64 * 1024
SQLITE_BUSY_SECONDS = 10  # how long one writer waits for another
POSTGRES_SETTINGS = (
    "statement_timeout=10000",  # milliseconds
    "lock_timeout=5000",
    "timezone=UTC",
    # Where a database is set to more, whoever comes second to a row gets an error, not a row count.
    r"default_transaction_isolation=read\ committed",
)


@dataclass(frozen=True)
class KatanaSettings:
    """Who we are to Katana, and where Katana is."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str
    authorize_url: str
    access_token_url: str
    revoke_url: str | None
    api_base_url: str
    audience: str
    issuer: str | None
    pkce: bool
    rotation_overlap_seconds: int


@dataclass(frozen=True)
class TokenKey:
    """A key that seals tokens, and its name."""

    kid: str
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class Settings:
    """All settings, checked."""

    katana: KatanaSettings
    secret_key: str = field(repr=False)
    secret_key_fallbacks: tuple[str, ...] = field(repr=False)
    token_keys: tuple[TokenKey, ...]
    database_url: str = field(repr=False)
    trusted_hosts: tuple[str, ...]
    proxy_hops: int
    ratelimit_storage_uri: str | None = field(repr=False)
    log_level: str
    log_format: str | None
    metrics_token: str | None = field(repr=False)

    @property
    def https(self) -> bool:
        """Whether users reach this app by https, as the redirect URI says."""
        return urlsplit(self.katana.redirect_uri).scheme == "https"


def read_environment(
    environ: Mapping[str, str] = os.environ, root: Path = ROOT, *, sandbox: bool = True
) -> dict[str, str]:
    """`environ` over `.env`; while neither has a client id, the sandbox's settings over both.

    Raises ConfigurationError where a file cannot be read. Without `sandbox` none is looked for.
    """
    try:
        return _read_environment(environ, root, sandbox)
    except UnicodeDecodeError:
        raise ConfigurationError((".env must be a text file in UTF-8.",)) from None
    except PermissionError as error:
        sentence = f"{Path(error.filename).name} may not be read by this user."
        raise ConfigurationError((sentence,)) from None


def _read_environment(environ: Mapping[str, str], root: Path, sandbox: bool) -> dict[str, str]:
    known = _given(dotenv_values(root / ".env")) | _given(environ)
    if "KATANA_CLIENT_ID" in known or not sandbox:
        return known

    return known | _given(dotenv_values(root / INSTANCE.name / "sandbox.env"))


def load(environ: Mapping[str, str]) -> Settings:
    """The settings in `environ`; an empty value counts as not set.

    Raises ConfigurationError with a sentence for each fault; no sentence repeats a value.
    """
    reader = _Reader({**SETTINGS, **_given(environ)})
    settings = _settings(reader)
    reader.refuse_reuse("SECRET_KEY", "KATANA_CLIENT_SECRET", "TOKEN_ENCRYPTION_KEYS")
    others = ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "KATANA_CLIENT_SECRET", "TOKEN_ENCRYPTION_KEYS")
    reader.refuse_reuse("METRICS_TOKEN", *others)
    if reader.values["KATANA_REDIRECT_URI"].lower().startswith("https:"):
        reader.refuse_what_developers_use()
    if reader.faults:
        raise ConfigurationError(tuple(reader.faults))

    return settings


def with_database(settings: Settings, url: str) -> Settings:
    """`settings` with another DATABASE_URL. Raises ConfigurationError where it is none."""
    reader = _Reader({"DATABASE_URL": url})
    url = reader.database_url("DATABASE_URL")
    if reader.faults:
        raise ConfigurationError(tuple(reader.faults))

    return replace(settings, database_url=url)


def for_flask(settings: Settings) -> Mapping[str, Any]:
    """What Flask and its extensions read by name from `app.config`."""
    return {
        "SECRET_KEY": settings.secret_key,
        "SECRET_KEY_FALLBACKS": list(settings.secret_key_fallbacks),
        "TRUSTED_HOSTS": list(settings.trusted_hosts),
        "PROVIDE_AUTOMATIC_OPTIONS": False,  # a page takes the methods that it declares
        "MAX_CONTENT_LENGTH": FORM_BYTES,
        "MAX_FORM_MEMORY_SIZE": FORM_BYTES,
        # A `__Host-` cookie belongs to this host alone (RFC 6265bis). Lax, not Strict: the user
        # comes back from Katana's site and must still be known.
        "SESSION_COOKIE_NAME": "__Host-session" if settings.https else "session",
        "SESSION_COOKIE_SECURE": settings.https,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "WTF_CSRF_TIME_LIMIT": None,  # a form is good for as long as its session
        "SQLALCHEMY_DATABASE_URI": settings.database_url,
        "SQLALCHEMY_ENGINE_OPTIONS": _engine_options(settings.database_url),
    }


def _engine_options(database_url: str) -> Mapping[str, Any]:
    # An error of the database is logged with its statement: without the values in it.
    if database_url.startswith("sqlite"):
        return {"hide_parameters": True, "connect_args": {"timeout": SQLITE_BUSY_SECONDS}}

    return {
        "hide_parameters": True,
        "pool_pre_ping": True,
        "pool_size": 10,
        "max_overflow": 20,
        "connect_args": {
            "connect_timeout": 5,
            "options": " ".join(f"-c {setting}" for setting in POSTGRES_SETTINGS),
            # None, so that a pooler such as pgbouncer may give each transaction another session.
            "prepare_threshold": None,
        },
    }


def _given(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value.strip() for name, value in values.items() if value and value.strip()}


def _settings(read: "_Reader") -> Settings:
    redirect_uri = read.url("KATANA_REDIRECT_URI")
    return Settings(
        katana=KatanaSettings(
            client_id=read.required("KATANA_CLIENT_ID"),
            client_secret=read.required("KATANA_CLIENT_SECRET"),
            redirect_uri=redirect_uri,
            authorize_url=read.url("KATANA_AUTHORIZE_URL"),
            access_token_url=read.url("KATANA_ACCESS_TOKEN_URL"),
            revoke_url=read.url("KATANA_REVOKE_URL", optional=True) or None,
            api_base_url=read.url("KATANA_API_BASE_URL").rstrip("/"),
            audience=read.required("KATANA_AUDIENCE"),
            issuer=read.optional("KATANA_ISSUER"),
            pkce=read.switch("KATANA_PKCE"),
            rotation_overlap_seconds=read.whole("KATANA_ROTATION_OVERLAP_SECONDS", most=3600),
        ),
        secret_key=read.secret("SECRET_KEY", characters=SECRET_KEY_CHARACTERS),
        secret_key_fallbacks=read.secrets("SECRET_KEY_FALLBACKS", characters=SECRET_KEY_CHARACTERS),
        token_keys=read.token_keys("TOKEN_ENCRYPTION_KEYS"),
        database_url=read.database_url("DATABASE_URL"),
        trusted_hosts=read.words("TRUSTED_HOSTS") or (urlsplit(redirect_uri).hostname or "",),
        proxy_hops=read.whole("PROXY_HOPS", most=10),
        ratelimit_storage_uri=read.optional("RATELIMIT_STORAGE_URI"),
        log_level=read.log_level("LOG_LEVEL"),
        log_format=read.log_format("LOG_FORMAT"),
        metrics_token=read.optional_secret("METRICS_TOKEN", characters=SECRET_KEY_CHARACTERS),
    )


class _Reader:
    """Reads one setting after the other, and notes what is wrong instead of stopping."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values
        self.faults: list[str] = []

    def fault(self, name: str, sentence: str) -> None:
        self.faults.append(f"{name} {sentence}")

    def optional(self, name: str) -> str | None:
        return self.values[name] or None

    def required(self, name: str) -> str:
        if not self.values[name]:
            self.fault(name, "is not set.")
        elif PLACEHOLDER.match(self.values[name]):
            self.fault(name, "still holds a placeholder.")
        return self.values[name]

    def secret(self, name: str, characters: int) -> str:
        value = self.required(name)
        if value:
            self._check_strength(name, value, characters)
        return value

    def optional_secret(self, name: str, characters: int) -> str | None:
        return self.secret(name, characters) if self.values[name] else None

    def secrets(self, name: str, characters: int) -> tuple[str, ...]:
        for value in self.words(name):
            self._check_strength(name, value, characters)
        return self.words(name)

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(word for word in map(str.strip, self.values[name].split(",")) if word)

    def switch(self, name: str) -> bool:
        if self.values[name].lower() not in {"on", "off"}:
            self.fault(name, "must be on or off.")
        return self.values[name].lower() == "on"

    def whole(self, name: str, most: int) -> int:
        value = self.values[name]
        if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) > most:
            self.fault(name, f"must be a whole number from 0 to {most}.")
            return 0
        return int(value)

    def url(self, name: str, *, optional: bool = False) -> str:
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
        if self.values[name].upper() not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
            self.fault(name, "must be DEBUG, INFO, WARNING, ERROR or CRITICAL.")
            return "INFO"
        return self.values[name].upper()

    def log_format(self, name: str) -> str | None:
        if self.values[name].lower() not in {"", "json", "text"}:
            self.fault(name, "must be json or text.")
            return None
        return self.values[name].lower() or None

    def database_url(self, name: str) -> str:
        value = self.values[name]
        for prefix in ("postgres://", "postgresql://"):  # without a driver's name: psycopg 3
            if value.startswith(prefix):
                return f"postgresql+psycopg://{value.removeprefix(prefix)}"
        if not value.startswith(("sqlite://", "postgresql+psycopg://")):
            self.fault(name, "must begin with sqlite:/// or postgresql://.")
        return value

    def token_keys(self, name: str) -> tuple[TokenKey, ...]:
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


def _trouble_with_url(value: str) -> str | None:
    try:
        url: SplitResult = urlsplit(value)
        url.port  # noqa: B018  reading it is the check
    except ValueError:
        return "is not a URL."
    if url.scheme not in {"http", "https"} or not url.hostname:
        return "must begin with https://."
    if url.scheme == "http" and url.hostname not in LOOPBACK_HOSTS:
        return "must be https: plain http is for this machine only."
    if url.fragment or "@" in url.netloc or not re.fullmatch(r"[!-\[\]-~]+", value):
        return "must hold no fragment, user name, backslash or space, and plain letters only."
    return None
