"""The settings in the form that Flask and its extensions read."""

from collections.abc import Mapping
from typing import Any

from app.settings.config import Settings

FORM_BYTES = 64 * 1024
SQLITE_BUSY_SECONDS = 10  # the longest wait for SQLite's write lock
POSTGRES_SETTINGS = (
    "statement_timeout=10000",  # milliseconds
    "lock_timeout=5000",
    "timezone=UTC",
    # At a stricter level a concurrent UPDATE fails with an error instead of matching no row.
    r"default_transaction_isolation=read\ committed",
)


def for_flask(settings: Settings) -> Mapping[str, Any]:
    """The values that Flask and its extensions read from `app.config`."""
    return {
        "SECRET_KEY": settings.secret_key,
        "SECRET_KEY_FALLBACKS": list(settings.secret_key_fallbacks),
        "TRUSTED_HOSTS": list(settings.trusted_hosts),
        "PROVIDE_AUTOMATIC_OPTIONS": False,  # a page accepts only the methods that it declares
        "MAX_CONTENT_LENGTH": FORM_BYTES,
        "MAX_FORM_MEMORY_SIZE": FORM_BYTES,
        # Over http all ports of a host share their cookies, and many apps use the name "session". A
        # `__Host-` cookie belongs to this host only (RFC 6265bis). Lax, not Strict: a user who
        # comes back from Katana's site must still be signed in.
        "SESSION_COOKIE_NAME": "__Host-session" if settings.https else "katana_session",
        "SESSION_COOKIE_SECURE": settings.https,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        # A CSRF token lives as long as its session, also if an old key signed it. The last key
        # signs.
        "WTF_CSRF_SECRET_KEY": [*settings.secret_key_fallbacks, settings.secret_key],
        "WTF_CSRF_TIME_LIMIT": None,
        "WTF_CSRF_SSL_STRICT": False,  # `refuse_other_sites` accepts more headers than the Referer
        "SQLALCHEMY_DATABASE_URI": settings.database_url,
        "SQLALCHEMY_ENGINE_OPTIONS": _engine_options(settings.database_url),
    }


def _engine_options(database_url: str) -> Mapping[str, Any]:
    # An error of the database is logged with its statement, but without the values in it.
    if database_url.startswith("sqlite"):
        return {"hide_parameters": True, "connect_args": {"timeout": SQLITE_BUSY_SECONDS}}

    return {
        "hide_parameters": True,
        "pool_size": 10,
        "max_overflow": 20,
        "pool_use_lifo": True,  # the connection used last is least likely to be broken
        "connect_args": {
            "connect_timeout": 5,
            "options": " ".join(f"-c {setting}" for setting in POSTGRES_SETTINGS),
            # None, because a pooler such as pgbouncer may use another session for each transaction.
            "prepare_threshold": None,
        },
    }
