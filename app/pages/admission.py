"""Refuses slow pages while too many requests wait for a thread of this worker.

gunicorn serves requests in the order of arrival. If many users load their dashboards at once, a
health check or a sign-in would wait behind them for seconds.
"""

from flask import Flask, current_app, request

from app.errors import Overloaded

MOST_WAITING = 40  # requests; about half a second of work
RETRY_SECONDS = 5.0
GIVES_WAY = {"dashboard.dashboard"}  # endpoints

#: The extension that returns the number of waiting requests; gunicorn.conf.py adds it.
WAITING = "waiting_requests"


def init_app(app: Flask) -> None:
    """Check before each request, before anything slow."""
    app.before_request(_refuse_in_a_crowd)


def _refuse_in_a_crowd() -> None:
    waiting = current_app.extensions.get(WAITING)
    if request.endpoint in GIVES_WAY and waiting and waiting() > MOST_WAITING:
        raise Overloaded(RETRY_SECONDS)
