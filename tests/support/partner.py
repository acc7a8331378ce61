"""An app with a client secret, and its sandbox, served for one test."""

import re
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

import requests
from werkzeug.serving import make_server

from sandbox import create_sandbox
from sandbox.__main__ import QuietRequestHandler

CLIENT_ID = "test-client"
CLIENT_SECRET = "a-secret-of-the-tests"
REDIRECT_URI = "http://localhost:8000/katana/callback"
VERIFIER = "a-verifier-that-is-long-enough-for-the-rules-of-pkce"
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


class HandClock:
    """Stands still until it is moved. Waiting moves it."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Partner:
    """An app with a client secret that talks to one sandbox over a real socket."""

    def __init__(self, url: str, clock: HandClock) -> None:
        self.url = url
        self.clock = clock

    def post(self, path: str, **how) -> requests.Response:
        return requests.post(self.url + path, allow_redirects=False, timeout=10, **how)

    def get(self, path: str, **how) -> requests.Response:
        return requests.get(self.url + path, allow_redirects=False, timeout=10, **how)

    def ask(self, **changes) -> requests.Response:
        """Send an authorization request. A change to None removes a parameter."""
        params = {
            "client_id": CLIENT_ID,
            "redirect_uri": REDIRECT_URI,
            "response_type": "code",
            "scope": "offline_access",
            "audience": "https://api.katanamrp.com",
            "state": "state-of-the-tests",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        return self.get("/authorize", params=params | changes)

    def press(self, button: str, factory: str = "alder-and-spoke", **changes) -> requests.Response:
        page = self.ask(**changes)
        transaction = re.search(r'name="transaction" value="([^"]+)"', page.text)[1]
        form = {"transaction": transaction, "factory": factory, "decision": button}
        return self.post("/authorize/decision", data=form)

    def code(self, **changes) -> str:
        return answer_in(self.press("approve", **changes).headers["Location"])["code"]

    def token(self, **fields) -> requests.Response:
        body = {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "redirect_uri": REDIRECT_URI,
        }
        return self.post("/oauth/token", data=body | fields)

    def exchange(self, code: str, **changes) -> requests.Response:
        fields = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
        return self.token(**fields | changes)

    def refresh(self, refresh_token: str, **changes) -> requests.Response:
        fields = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return self.token(**fields | changes)

    def connect(self, factory: str = "alder-and-spoke") -> dict:
        return self.exchange(self.code(factory=factory)).json()

    def read(self, path: str, grant: dict) -> requests.Response:
        headers = {"Authorization": f"Bearer {grant['access_token']}"}
        return self.get(f"/v1/{path}", headers=headers)

    def rules(self, **rules) -> None:
        assert self.post("/rules", json=rules).status_code == 200

    def arm(self, **fault) -> None:
        assert self.post("/faults", json=fault).status_code == 200

    def ledger(self) -> dict:
        return self.get("/ledger").json()


@contextmanager
def partner_of_a_sandbox() -> Iterator[Partner]:
    """A partner of a new sandbox on a free port. Its clock stands still until it is moved."""
    clock = HandClock()
    app = create_sandbox(
        client_id=CLIENT_ID, client_secret=CLIENT_SECRET, redirect_uri=REDIRECT_URI, clock=clock
    )
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietRequestHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield Partner(f"http://127.0.0.1:{server.port}", clock)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer_in(location: str) -> dict[str, str]:
    """Return the parameters that a redirect carries back to the app."""
    assert location.startswith(REDIRECT_URI + "?")

    return {name: value for name, [value] in parse_qs(urlsplit(location).query).items()}
