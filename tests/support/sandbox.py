"""Drives the sandbox over HTTP: the consent page, its rules and its faults."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import requests
from flask import Response, request

from tests.support.pages import Page
from tests.support.servers import serving
from tests.support.until import until

if TYPE_CHECKING:
    from sandbox.clock import Clock

TIMEOUT = 30
SECRET_FIELDS = {
    "client_secret",
    "code",
    "code_verifier",
    "token",
    "access_token",
    "refresh_token",
}


@dataclass(frozen=True)
class Request:
    """One request as the sandbox recorded it: names of fields and headers, no values."""

    n: int
    at: str
    method: str
    path: str
    kind: str
    fields: list[str]
    headers: list[str]
    family: int | None
    fingerprint: str | None
    status: int | None
    error: str | None
    fault: str | None


@dataclass(frozen=True)
class Token:
    """A token by its fingerprint; `presented` is how often a refresh token was sent."""

    fingerprint: str
    state: str
    presented: int = 0


@dataclass(frozen=True)
class Family:
    """All tokens of one consent."""

    id: int
    factory: str
    state: str
    reason: str | None
    refresh_tokens: list[Token]
    access_tokens: list[Token]


@dataclass(frozen=True)
class Ledger:
    """Everything that the sandbox has recorded since its start."""

    families: list[Family]
    requests: list[Request]
    totals: dict[str, int]

    def of(self, kind: str) -> list[Request]:
        """The requests of one kind: authorize, exchange, refresh, revoke or api."""
        return [request for request in self.requests if request.kind == kind]


@dataclass(frozen=True)
class Callback:
    """Katana's redirect back to the app; `form` is the body of a POST, None for a GET."""

    url: str
    form: dict[str, str] | None = None


class Patience:
    """The sandbox's clock: real time, but a wait ends when `no_more` is set."""

    def __init__(self) -> None:
        self.no_more = Event()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        self.no_more.wait(seconds)


class Sandbox:
    """A running sandbox. `secrets` are the codes, verifiers and tokens that it got or sent."""

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: str,
        secrets: set[str] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.url = url
        self.client_id = client_id
        self.client_secret = client_secret
        self.secrets = set() if secrets is None else secrets
        self._patience = patience or Patience()
        self._http = requests.Session()

    def settings(self) -> dict[str, str]:
        """The app's settings for this sandbox."""
        return {
            "KATANA_CLIENT_ID": self.client_id,
            "KATANA_CLIENT_SECRET": self.client_secret,
            "KATANA_AUTHORIZE_URL": f"{self.url}/authorize",
            "KATANA_ACCESS_TOKEN_URL": f"{self.url}/oauth/token",
            "KATANA_REVOKE_URL": f"{self.url}/oauth/revoke",
            "KATANA_API_BASE_URL": f"{self.url}/v1",
        }

    def close(self) -> None:
        """Close the sockets."""
        self._http.close()

    def approve(
        self, authorize_url: str, *, factory: str | None = None, decision: str = "approve"
    ) -> Callback:
        """Submit the consent page at `authorize_url`, and return its redirect."""
        form = self._page("GET", authorize_url).form("/authorize/decision")
        answers = form.fields | {"decision": decision} | ({"factory": factory} if factory else {})
        page = self._page("POST", urljoin(self.url, form.action), data=answers)
        if page.location:
            return Callback(page.location)

        (form,) = page.forms()
        return Callback(form.action, form.fields)

    def ledger(self) -> Ledger:
        """The sandbox's record."""
        seen = self._read("/ledger")
        return Ledger(
            families=[_family(family) for family in seen["families"]],
            requests=[_only_known(Request, request) for request in seen["requests"]],
            totals=seen["totals"],
        )

    def rules(self, **changed: object) -> None:
        """Change rules, such as `access_token_seconds=5`."""
        self._control("/rules", **changed)

    def fault(self, on: str, fault: str, **details: object) -> None:
        """Inject `fault` into the next request of kind `on`; with `times=0` into all of them."""
        self._patience.no_more.clear()
        self._control("/faults", on=on, fault=fault, **details)

    def wait_until_asked(self, kind: str) -> None:
        """Wait until the first request of this kind has arrived."""
        until(lambda: self.ledger().of(kind), lambda: f"nobody has asked for {kind}")

    def let_go(self) -> None:
        """Send every delayed response now. No response is delayed until the next fault."""
        self._patience.no_more.set()

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._http.delete(f"{self.url}/faults", timeout=TIMEOUT).raise_for_status()

    def expire(self, family: int | None = None) -> None:
        """Expire the access tokens of one family, or of all."""
        self._control("/expire", family=family)

    def kill(self, family: int | None = None) -> None:
        """Revoke one grant, or all, as a user can at Katana."""
        self._control("/kill", family=family)

    def reset(self) -> None:
        """Delete the record."""
        self._patience.no_more.clear()
        self._control("/reset")

    def happen(self, what: str, **details: Any) -> list[dict[str, Any]]:
        """Let an event happen in the factory of the newest connection, and return it.

        `what` and `details` are those of `Wish`, such as `record=12, fields={...}, late=3`. With
        `after_lists` it happens after so many requests for the list `resource`, and the result is
        [].
        """
        happened: list[dict[str, Any]] = self._control("/happen", what=what, **details).get(
            "happened", []
        )
        return happened

    def grow(self, resource: str, count: int, *, days: int = 0, **details: Any) -> None:
        """Add `count` records of `sales_orders` or `customers`, spread over the last days."""
        self._control("/grow", resource=resource, count=count, days=days, **details)

    def webhooks(self) -> list[dict[str, Any]]:
        """The webhooks of all factories, without their tokens, oldest first."""
        seen: list[dict[str, Any]] = self._read("/ledger")["webhooks"]
        return seen

    def change_webhooks(self, do: str, webhook: int | None = None) -> None:
        """Let a user at Katana `disable`, `enable` or `delete` one webhook, or all."""
        self._control("/webhooks", do=do, webhook=webhook)

    def add_foreign_webhook(self, factory: str, url: str = "") -> int:
        """Register a webhook of another app at a factory, and return its id."""
        webhook: int = self._control("/webhooks/foreign", factory=factory, url=url)["id"]
        return webhook

    def deliver(self, *, webhook: int | None = None, **body: Any) -> None:
        """Post `payload` (as JSON) or `text` to a webhook; `signature` is right, wrong or none."""
        self._control("/deliver", webhook=webhook, **body)

    def deliveries(self) -> list[dict[str, Any]]:
        """The latest deliveries with their attempts and states, oldest first."""
        seen: list[dict[str, Any]] = self._read("/deliveries")["deliveries"]
        return seen

    def hurry_deliveries(self) -> None:
        """Post every delivery that is not due yet, such as a retry, now."""
        self._control("/deliveries/hurry")

    def wait_until_delivered(self) -> None:
        """Wait until no due delivery is left; retries may be left."""
        until(
            lambda: self._read("/deliveries?latest=0")["totals"]["waiting"] == 0,
            lambda: f"deliveries wait: {self.deliveries()[-3:]}",
        )

    def wait_until_settled(self) -> None:
        """Wait until each delivery has arrived, or failed in all its attempts."""

        def is_settled() -> bool:
            self.hurry_deliveries()
            waiting: int = self._read("/deliveries?latest=0")["totals"]["waiting"]
            return waiting == 0

        until(is_settled, lambda: f"deliveries wait: {self.deliveries()[-3:]}")

    def truth(self, factory: str) -> dict[str, Any]:
        """Every record of a factory by list, deleted ones with their `deleted_at`."""
        return self._read(f"/truth/{factory}")

    def _read(self, path: str) -> dict[str, Any]:
        answer = self._http.get(f"{self.url}{path}", timeout=TIMEOUT)
        answer.raise_for_status()
        seen: dict[str, Any] = answer.json()
        return seen

    def _control(self, path: str, /, **body: object) -> dict[str, Any]:
        answer = self._http.post(f"{self.url}{path}", json=body, timeout=TIMEOUT)
        assert answer.ok, f"the sandbox refused {path}: {answer.text}"
        answered: dict[str, Any] = answer.json()
        return answered

    def _page(self, method: str, url: str, data: dict[str, str] | None = None) -> Page:
        answer = self._http.request(method, url, data=data, allow_redirects=False, timeout=TIMEOUT)
        return Page(answer.status_code, answer.text, answer.headers.get("Location"))


@contextmanager
def running_sandbox(redirect_uri: str, clock: "Clock | None" = None) -> Iterator[Sandbox]:
    """A new sandbox on a free port, with one client whose callback is `redirect_uri`."""
    from sandbox import create_sandbox

    client_id, client_secret = f"client-{token_hex(4)}", token_hex(32)
    patience = Patience()
    app = create_sandbox(
        client_id=client_id,
        client_secret=client_secret,
        redirect_uri=redirect_uri,
        clock=clock or patience,
    )
    secrets: set[str] = set()
    app.after_request(_overhear(secrets))
    with serving(app) as url:
        sandbox = Sandbox(url, client_id, client_secret, secrets, patience)
        try:
            yield sandbox
        finally:
            sandbox.close()


def _overhear(secrets: set[str]) -> Callable[[Response], Response]:
    def listen(response: Response) -> Response:
        if request.path.startswith(("/oauth/", "/v1/webhooks")):
            given = response.get_json(silent=True) or {}
            for passed in (request.form.to_dict(), given, *given.get("data", ())):
                secrets.update(str(passed[name]) for name in SECRET_FIELDS & passed.keys())
        return response

    return listen


def _family(seen: dict[str, Any]) -> Family:
    tokens = {
        name: [_only_known(Token, token) for token in seen[name]]
        for name in ("refresh_tokens", "access_tokens")
    }
    return _only_known(Family, seen | tokens)


def _only_known(kind: Any, seen: dict[str, Any]) -> Any:
    # The ledger may contain more than the tests need.
    return kind(**{name: seen[name] for name in kind.__dataclass_fields__ if name in seen})
