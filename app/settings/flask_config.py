"""The settings as Flask and its extensions read them."""

from collections.abc import Mapping
from typing import Any

from app.settings.config import Settings

FORM_BYTES = 64 * 1024
SQLITE_BUSY_SECONDS = 10  # how long one writer waits for another
POSTGRES_SETTINGS = (
    "statement_timeout=10000",  # milliseconds
    "lock_timeout=5000",
    "timezone=UTC",
    # Where a database is set to more, whoever comes second to a row gets an error, not a row count.
    r"default_transaction_isolation=read\ committed",
)


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
