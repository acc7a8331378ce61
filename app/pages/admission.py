"""Refuses pages that may ask Katana while too many requests wait for a thread of this worker.

gunicorn serves requests in the order in which they come. A crowd that loads its dashboards would
let a health check, or a sign-in, wait behind it for seconds.
"""

from flask import Flask, current_app, request

from app.errors import Overloaded

MOST_WAITING = 40  # requests; about half a second of work
RETRY_SECONDS = 5.0
GIVES_WAY = {"dashboard.dashboard"}  # endpoints

#: The extension that returns how many requests wait; gunicorn.conf.py puts it there.
WAITING = "waiting_requests"


def init_app(app: Flask) -> None:
    """Ask before each request, ahead of all that costs time."""
    app.before_request(_refuse_in_a_crowd)


def _refuse_in_a_crowd() -> None:
    waiting = current_app.extensions.get(WAITING)
    if request.endpoint in GIVES_WAY and waiting and waiting() > MOST_WAITING:
        raise Overloaded(RETRY_SECONDS)
