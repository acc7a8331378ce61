"""Drives the sandbox over HTTP: its consent page as a user, its rules and faults as the weather."""

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
    """One request as the sandbox saw it: names of fields and headers, no values."""

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
    """A token by its fingerprint; `presented` counts how often a refresh token was sent."""

    fingerprint: str
    state: str
    presented: int = 0


@dataclass(frozen=True)
class Family:
    """All tokens that came of one consent."""

    id: int
    factory: str
    state: str
    reason: str | None
    refresh_tokens: list[Token]
    access_tokens: list[Token]


@dataclass(frozen=True)
class Ledger:
    """Everything the sandbox has seen since it began."""

    families: list[Family]
    requests: list[Request]
    totals: dict[str, int]

    def of(self, kind: str) -> list[Request]:
        """The requests of one kind: authorize, exchange, refresh, revoke or api."""
        return [request for request in self.requests if request.kind == kind]


@dataclass(frozen=True)
class Callback:
    """Where Katana sends the user back to; `form` is what is posted there, None for a GET."""

    url: str
    form: dict[str, str] | None = None


class Patience:
    """The sandbox's clock: real time, but a wait is over once `no_more` is set."""

    def __init__(self) -> None:
        self.no_more = Event()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        self.no_more.wait(seconds)


class Sandbox:
    """A running sandbox. `secrets` are the codes, verifiers and tokens that it was sent or gave."""

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
        """The app's settings that make this sandbox its Katana."""
        return {
            "KATANA_CLIENT_ID": self.client_id,
            "KATANA_CLIENT_SECRET": self.client_secret,
            "KATANA_AUTHORIZE_URL": f"{self.url}/authorize",
            "KATANA_ACCESS_TOKEN_URL": f"{self.url}/oauth/token",
            "KATANA_REVOKE_URL": f"{self.url}/oauth/revoke",
            "KATANA_API_BASE_URL": f"{self.url}/v1",
        }

    def close(self) -> None:
        """Let go of the sockets."""
        self._http.close()

    def approve(
        self, authorize_url: str, *, factory: str | None = None, decision: str = "approve"
    ) -> Callback:
        """Answer the consent page that `authorize_url` leads to, and say what comes of it."""
        form = self._page("GET", authorize_url).form("/authorize/decision")
        answers = form.fields | {"decision": decision} | ({"factory": factory} if factory else {})
        page = self._page("POST", urljoin(self.url, form.action), data=answers)
        if page.location:
            return Callback(page.location)

        (form,) = page.forms()
        return Callback(form.action, form.fields)

    def ledger(self) -> Ledger:
        """What the sandbox has seen until now."""
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
        """Let the next request of kind `on` meet `fault`; `times=0` lets all of them."""
        self._patience.no_more.clear()
        self._control("/faults", on=on, fault=fault, **details)

    def wait_until_asked(self, kind: str) -> None:
        """Return once the first request of this kind is there, answered or not."""
        until(lambda: self.ledger().of(kind), lambda: f"nobody has asked for {kind}")

    def let_go(self) -> None:
        """Answer now whatever a slow answer was held back from; none is slow until a next fault."""
        self._patience.no_more.set()

    def clear_faults(self) -> None:
        """Let everything go well again."""
        self._http.delete(f"{self.url}/faults", timeout=TIMEOUT).raise_for_status()

    def expire(self, family: int | None = None) -> None:
        """End the life of the access tokens of one family, or of all."""
        self._control("/expire", family=family)

    def kill(self, family: int | None = None) -> None:
        """Take back one grant, or all, as a user can at Katana."""
        self._control("/kill", family=family)

    def reset(self) -> None:
        """Forget everything."""
        self._patience.no_more.clear()
        self._control("/reset")

    def happen(self, what: str, **details: Any) -> list[dict[str, Any]]:
        """Let something happen in a factory (that of the newest connection), and say what did.

        `what` and `details` are those of `Wish`, such as `record=12, fields={...}, late=3`; with
        `after_lists` it happens after so many requests for the list `resource`, and [] is said.
        """
        happened: list[dict[str, Any]] = self._control("/happen", what=what, **details).get(
            "happened", []
        )
        return happened

    def grow(self, resource: str, count: int, *, days: int = 0, **details: Any) -> None:
        """Add many `sales_orders` or `customers`, written evenly over the last days."""
        self._control("/grow", resource=resource, count=count, days=days, **details)

    def webhooks(self) -> list[dict[str, Any]]:
        """The webhooks of all factories, without their tokens, oldest first."""
        seen: list[dict[str, Any]] = self._read("/ledger")["webhooks"]
        return seen

    def change_webhooks(self, do: str, webhook: int | None = None) -> None:
        """Let a user at Katana `disable`, `enable` or `delete` one webhook, or all."""
        self._control("/webhooks", do=do, webhook=webhook)

    def add_foreign_webhook(self, factory: str, url: str = "") -> int:
        """Register a webhook of another app at a factory, and say its id."""
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
        """Let each delivery that waits for its time, such as a retry's, be posted now."""
        self._control("/deliveries/hurry")

    def wait_until_delivered(self) -> None:
        """Return once no delivery waits to be posted; retries that are not due yet do wait."""
        until(
            lambda: self._read("/deliveries?latest=0")["totals"]["waiting"] == 0,
            lambda: f"deliveries wait: {self.deliveries()[-3:]}",
        )

    def wait_until_settled(self) -> None:
        """Return once each delivery has arrived, or failed in all its attempts."""

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
    """A sandbox of its own on a free port, with one client whose callback is `redirect_uri`."""
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
    # The ledger may tell more than the tests ask for.
    return kind(**{name: seen[name] for name in kind.__dataclass_fields__ if name in seen})
