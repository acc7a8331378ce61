"""One id for each request: in its log lines, on its error page, in its response header.

A proxy in front may set it (`X-Request-ID`), so that its log and this one can be matched. It is
used only if PROXY_HOPS says that there is a proxy, and only if it is a short plain word.
"""

import re
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask

from app.operations import logs
from app.settings.config import Settings

SOUND = re.compile(r"[A-Za-z0-9._-]{8,64}")


def init_app(app: Flask, settings: Settings) -> None:
    """Give each request to `app` its id, before any other middleware."""
    app.wsgi_app = RequestIds(app.wsgi_app, behind_proxy=settings.proxy_hops > 0)  # type: ignore[method-assign]


class RequestIds:
    """WSGI middleware that sets the id."""

    def __init__(self, app: WSGIApplication, *, behind_proxy: bool) -> None:
        self._app = app
        self._behind_proxy = behind_proxy

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with logs.carrying(self._id_of(environ)) as request_id:

            def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
                return start_response(status, [*headers, ("X-Request-ID", request_id)], exc_info)

            return self._app(environ, start)

    def _id_of(self, environ: WSGIEnvironment) -> str:
        given = environ.get("HTTP_X_REQUEST_ID", "") if self._behind_proxy else ""
        return given if SOUND.fullmatch(given) else logs.new_id()
