"""Recognizes a connection pooler that refuses the session settings which this app asks for."""

#: pgbouncer names the parameter as `options`, and since 1.20 as what stands in it:
#: "unsupported startup parameter in options: statement_timeout". It sends no usable SQLSTATE.
_REFUSED = "unsupported startup parameter"

REFUSES = (
    "What answers at DATABASE_URL is a pooler, such as pgbouncer, that refuses this app's settings "
    "of a session (startup parameter `options`)."
)
REMEDY = (
    "Set `ignore_startup_parameters = options` in pgbouncer.ini, and the time limits on the "
    "database role (docs/running.md)."
)


def refuses_settings(error: BaseException | None) -> bool:
    """Whether `error`, or what caused it, is a pooler's refusal of a startup parameter."""
    while error is not None:
        if _REFUSED in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
