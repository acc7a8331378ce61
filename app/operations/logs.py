"""The format of log lines, and the request ids in them, for the app, its commands and gunicorn.

There are two formats: JSON for machines, with the time in UTC, and text for people, with the local
time. The `extra` of a log call becomes fields of the JSON. A value from outside cannot start a new
line (ASVS 16.4.1).
"""

import logging
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

JSON, TEXT = "json", "text"

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def set_up(form: str, level: str) -> None:
    """Let all loggers of this process use this format, and the app's loggers this level.

    It may be called again: there is always one handler.
    """
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _ToStandardError):
            root.removeHandler(handler)
    root.addHandler(_ToStandardError(formatter(form)))
    logging.getLogger("werkzeug").addFilter(without_query)  # `flask run` logs requests with it
    logging.getLogger("app").setLevel(level)


def form_for(log_format: str | None, redirect_uri: str) -> str:
    """The format in the settings; without one, JSON if users come by https."""
    by_default = JSON if redirect_uri.lower().startswith("https:") else TEXT
    return (log_format or by_default).lower()


def formatter(form: str) -> logging.Formatter:
    """The formatter of this format."""
    return _json() if form == JSON else _Text()


def without_query(record: logging.LogRecord) -> bool:
    """A filter for request lines: the query of a callback contains Katana's code."""
    record.msg, record.args = without_key(re.sub(r"\?\S+", "?...", record.getMessage())), ()
    return True


def without_key(path: str) -> str:
    """A path, or a line with a path, without the secret key of a webhook's address."""
    return re.sub(r"(/katana/webhooks/)[^\s?]+", r"\1...", path)


def request_id() -> str | None:
    """The id of the current request or command, if there is one."""
    return _request_id.get()


@contextmanager
def carrying(request_id: str) -> Iterator[str]:
    """Put the id in every line that this thread logs within the context."""
    token = _request_id.set(request_id)
    try:
        yield request_id
    finally:
        _request_id.reset(token)


def new_id() -> str:
    """A random id, short enough to read out on the telephone."""
    return secrets.token_hex(6)


class _ToStandardError(logging.StreamHandler[TextIO]):
    """Writes to the current `sys.stderr`: tests and servers replace it."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        record.request_id = request_id()
        super().emit(record)


def _json() -> logging.Formatter:
    return JsonFormatter(
        ("levelname", "name", "message", "request_id"),
        defaults={"time": None},  # so that it is the first field
        timestamp="time",
        rename_fields={"levelname": "level", "name": "logger", "exc_info": "traceback"},
    )


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = _printable(record.message)
        line = super().formatMessage(record)
        carried = getattr(record, "request_id", None)
        return f"{line} [{carried}]" if carried else line

    def formatException(self, ei: Any) -> str:
        return _set_in(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        return _set_in(super().formatStack(stack_info))


def _set_in(lines: str) -> str:
    # The text of an error may contain line ends too.
    return "\n".join(f"    {_printable(line)}" for line in lines.splitlines())


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
