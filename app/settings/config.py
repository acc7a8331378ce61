"""Environment in, checked settings out; everything that is wrong is reported at once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values

from app.errors import ConfigurationError
from app.settings import mail_server
from app.settings.mail_server import MailServer
from app.settings.parsing import Reader, TokenKey

ROOT = Path(__file__).resolve().parents[2]
INSTANCE = ROOT / "instance"

#: Every setting and its default. No secret has one.
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
    "GUNICORN_THREADS": "8",
    "RATELIMIT_STORAGE_URI": "",
    "LOG_LEVEL": "INFO",
    "LOG_FORMAT": "",
    "METRICS_TOKEN": "",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "",
    "CELERY_BROKER_URL": "",
    "SMTP_URL": "",
    "MAIL_FROM": "",
}
SECRET_KEY_CHARACTERS = 32
FORM_BYTES = 64 * 1024
CALLBACK = "/katana/callback"  # the page that receives Katana's authorization response
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
class Settings:
    """All settings, checked."""

    katana: KatanaSettings
    secret_key: str = field(repr=False)
    secret_key_fallbacks: tuple[str, ...] = field(repr=False)
    token_keys: tuple[TokenKey, ...]
    database_url: str = field(repr=False)
    trusted_hosts: tuple[str, ...]
    proxy_hops: int
    threads: int
    ratelimit_storage_uri: str | None = field(repr=False)
    log_level: str
    log_format: str | None
    metrics_token: str | None = field(repr=False)
    otlp_endpoint: str | None
    celery_broker_url: str | None = field(repr=False)
    mail_server: MailServer | None

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
    reader = Reader({**SETTINGS, **_given(environ)})
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
    reader = Reader({"DATABASE_URL": url})
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
        # By http all ports of a host share their cookies, and many apps call theirs "session". A
        # `__Host-` cookie belongs to this host alone (RFC 6265bis). Lax, not Strict: the user comes
        # back from Katana's site and must still be known.
        "SESSION_COOKIE_NAME": "__Host-session" if settings.https else "katana_session",
        "SESSION_COOKIE_SECURE": settings.https,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        # A form is good for as long as its session, be it signed by an earlier key; the last signs.
        "WTF_CSRF_SECRET_KEY": [*settings.secret_key_fallbacks, settings.secret_key],
        "WTF_CSRF_TIME_LIMIT": None,
        "WTF_CSRF_SSL_STRICT": False,  # `refuse_other_sites` takes more proofs than the Referer
        "SQLALCHEMY_DATABASE_URI": settings.database_url,
        "SQLALCHEMY_ENGINE_OPTIONS": _engine_options(settings.database_url),
    }


def _engine_options(database_url: str) -> Mapping[str, Any]:
    # An error of the database is logged with its statement: without the values in it.
    if database_url.startswith("sqlite"):
        return {"hide_parameters": True, "connect_args": {"timeout": SQLITE_BUSY_SECONDS}}

    return {
        "hide_parameters": True,
        "pool_size": 10,
        "max_overflow": 20,
        "pool_use_lifo": True,  # the one last used needs a check least
        "connect_args": {
            "connect_timeout": 5,
            "options": " ".join(f"-c {setting}" for setting in POSTGRES_SETTINGS),
            # None, so that a pooler such as pgbouncer may give each transaction another session.
            "prepare_threshold": None,
        },
    }


def _given(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value.strip() for name, value in values.items() if value and value.strip()}


def _settings(read: Reader) -> Settings:
    redirect_uri = read.url("KATANA_REDIRECT_URI")
    if redirect_uri and urlsplit(redirect_uri).path != CALLBACK:
        read.fault("KATANA_REDIRECT_URI", f"must end in {CALLBACK}, here and at Katana.")
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
        threads=read.whole("GUNICORN_THREADS", most=1000),
        ratelimit_storage_uri=read.store("RATELIMIT_STORAGE_URI"),
        log_level=read.log_level("LOG_LEVEL"),
        log_format=read.log_format("LOG_FORMAT"),
        metrics_token=read.optional_secret("METRICS_TOKEN", characters=SECRET_KEY_CHARACTERS),
        otlp_endpoint=read.collector("OTEL_EXPORTER_OTLP_ENDPOINT"),
        celery_broker_url=read.broker("CELERY_BROKER_URL"),
        mail_server=mail_server.read(read),
    )
