"""How a line of the log looks, and whose it is: for the app, its commands, and gunicorn.

There are two forms: JSON for machines, with the moment in UTC, and text for people, with the time
of this machine. What is passed as `extra` to a logger is a field of the JSON. No value that comes
from outside can begin a line of its own (ASVS 16.4.1).
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
    """Let every logger of this process write in this form, and the app's from this level on.

    It may be called again: there is one handler, however often.
    """
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _ToStandardError):
            root.removeHandler(handler)
    root.addHandler(_ToStandardError(formatter(form)))
    logging.getLogger("werkzeug").addFilter(without_query)  # which `flask run` writes requests to
    logging.getLogger("app").setLevel(level)


def form_for(log_format: str | None, redirect_uri: str) -> str:
    """The form that is set; where none is, JSON once users come by https."""
    by_default = JSON if redirect_uri.lower().startswith("https:") else TEXT
    return (log_format or by_default).lower()


def formatter(form: str) -> logging.Formatter:
    """What writes lines in this form."""
    return _json() if form == JSON else _Text()


def without_query(record: logging.LogRecord) -> bool:
    """A filter for what a server writes: the query of a callback holds Katana's code."""
    record.msg, record.args = without_key(re.sub(r"\?\S+", "?...", record.getMessage())), ()
    return True


def without_key(path: str) -> str:
    """A path, or a line with one, without the key of the webhook that it is the address of."""
    return re.sub(r"(/katana/webhooks/)[^\s?]+", r"\1...", path)


def request_id() -> str | None:
    """The id of the request or command under way, if one is."""
    return _request_id.get()


@contextmanager
def carrying(request_id: str) -> Iterator[str]:
    """Every line that is written meanwhile, by this thread, carries the id."""
    token = _request_id.set(request_id)
    try:
        yield request_id
    finally:
        _request_id.reset(token)


def new_id() -> str:
    """Random, and short enough to be read out on the telephone."""
    return secrets.token_hex(6)


class _ToStandardError(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at the moment: a test, or a server, puts in another."""

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
        defaults={"time": None},  # so that it comes first
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
    # The text of an error may hold line ends too.
    return "\n".join(f"    {_printable(line)}" for line in lines.splitlines())


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
