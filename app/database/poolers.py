"""Recognizes a connection pooler that refuses this app's session settings."""

#: The start of pgbouncer's message; there is no usable SQLSTATE. Since 1.20 it is for example
#: "unsupported startup parameter in options: statement_timeout".
_REFUSED = "unsupported startup parameter"

REFUSES = (
    "DATABASE_URL leads to a connection pooler, such as pgbouncer, that refuses this app's session "
    "settings (startup parameter `options`)."
)
REMEDY = (
    "Set `ignore_startup_parameters = options` in pgbouncer.ini, and the time limits on the "
    "database role (docs/running.md)."
)


def refuses_settings(error: BaseException | None) -> bool:
    """Whether `error` or one of its causes is a pooler's refusal of a startup parameter."""
    while error is not None:
        if _REFUSED in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
