"""A receiver of webhook deliveries for one test: a real server that records each request."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event

from flask import Flask, Response, request

from tests.support.servers import serving
from tests.support.until import until


@dataclass(frozen=True)
class Post:
    """One delivery as it arrived, with header names in lower case."""

    body: bytes
    headers: dict[str, str]


@dataclass
class Receiver:
    """Responds with `status` to each request to `url`, at once unless `hold` is cleared.

    A redirect has the target `location`.
    """

    url: str = ""
    status: int = 204
    location: str = ""
    posts: list[Post] = field(default_factory=list)
    hold: Event = field(default_factory=Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait_for(self, many: int) -> list[Post]:
        """Wait until so many requests have arrived, and return them."""
        until(lambda: len(self.posts) >= many, lambda: f"{len(self.posts)} of {many} were posted")
        return list(self.posts)

    def receive(self) -> Response:
        sent = {name.lower(): value for name, value in request.headers}
        with self._lock:
            self.posts.append(Post(request.get_data(), sent))
        self.hold.wait(30)
        headers = {"Location": self.location} if self.location else None
        return Response(status=self.status, headers=headers)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port."""
    receiver = Receiver()
    receiver.hold.set()
    app = Flask(__name__)
    app.add_url_rule("/hook", view_func=receiver.receive, methods=["POST"])
    app.add_url_rule("/v1/traces", view_func=receiver.receive, methods=["POST"])
    with serving(app) as url:
        receiver.url = f"{url}/hook"
        try:
            yield receiver
        finally:
            receiver.hold.set()
