"""The API, answered in this process: what comes back is the access token that a call was made with.

So a peer is called as its documentation shows, and no second server takes part in what is measured.
"""

from typing import Any

from requests import PreparedRequest, Response, Session
from requests.adapters import BaseAdapter

from benchmarks.peers import API_URL


class OnTheSpot(BaseAdapter):
    """Answers every request with its own bearer token."""

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        response = Response()
        response.status_code = 200
        response.request = request
        response.url = request.url or ""
        response._content = str(request.headers["Authorization"]).removeprefix("Bearer ").encode()
        return response

    def close(self) -> None:
        pass


def answer_on_the_spot(session: Session) -> None:
    """Let `session` reach the API."""
    session.mount(API_URL, OnTheSpot())
