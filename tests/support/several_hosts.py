"""Hosts, their proxies, poolers and users on one database, and the faults that hit them."""

import hashlib
import itertools
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from secrets import token_hex
from threading import Event, Lock, Thread
from uuid import UUID

import requests
from flask import Flask, Response, request
from sqlalchemy import make_url, select

from app import create_app
from app.accounts.models import User
from app.connections import sealed_grant
from app.connections.models import Connection
from app.connections.vault import Vault
from app.database.clock import Clock, SystemClock
from app.database.db import db
from app.pages.error_messages import DATABASE_AWAY, FAILURES
from app.settings.config import load
from tests.conftest import cannot_run, new_secrets
from tests.support import nginx as fronts
from tests.support.actors import Maker, WireBrowser
from tests.support.clones import Clone
from tests.support.commands import flask
from tests.support.connected import fingerprint
from tests.support.network import Host, Lan, MachineClock
from tests.support.nginx import Nginx, find_nginx
from tests.support.pages import Page
from tests.support.poolers import IGNORES, pooled
from tests.support.postgres import Postgres
from tests.support.sandbox import Family, Sandbox
from tests.support.servers import Served, gunicorn, serving
from tests.support.until import until

FACTORIES = {
    "alder-and-spoke": "Alder &amp; Spoke Bicycles",
    "tallow-and-wick": "Tallow &amp; Wick",
    "first-light": "First Light Coffee Roasters",
}
USERS = ("ada", "ben", "cleo", "dora", "emil", "fay")
WEB = ("web1", "web2", "web3")
WORKERS = ("worker1", "worker2")
PORT = 8000
TOKEN_SECONDS = 5
POOL, SLOTS = 12, 30
#: Not `synchronous_commit = off`: a server that is killed would lose saved tokens.
POSTGRES = ("fsync = off", "max_connections = 30")
POOLER = f"""{IGNORES}
listen_addr = 0.0.0.0
max_client_conn = 500
default_pool_size = {POOL}
query_wait_timeout = 5
server_login_retry = 1
"""
END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = 'app' AND application_name <> 'test' AND pid <> pg_backend_pid()
"""
#: A fork's page that sends requests to Katana; the app's pages read the copy.
LIVE_PAGE = """

from flask_login import current_user, login_required

from app.pages import katana_api


@app.get("/live")
@login_required
def live():
    return {"factory": katana_api.for_user(current_user.id).factory().name}
"""
PATHS = ("/live", "/dashboard", "/live", "/orders")
ENDED = "Katana must be connected again"
EXPLANATIONS = {DATABASE_AWAY.title} | {
    told.title for told in FAILURES.values() if told.status == 503
}
#: An error of the database that the app logs with a traceback, and continues after.
LOGGED = re.compile(r'"logger": "app\.(sync\.reading|connections\.saving)".*sqlalche\.me/e/')
#: The text on a page of the copy after a reconnect, until a worker has read it.
NOT_READ = re.compile("have not been read yet|None has been read yet")
PATIENT, IMPATIENT = 60, 8  # how long a user waits for a page, in seconds


@dataclass
class Weather:
    """The current fault, and the pages that users got."""

    name: str = "quiet"
    #: Whether a host is down, so that a proxy's error page or no response is allowed.
    host_away: bool = False
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    refreshes: dict[str, int] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def note(self, name: str, kind: str, seconds: float, what: str) -> None:
        """Record one page."""
        with self.lock:
            self.seen[name, kind] += 1
            self.slowest[name] = max(self.slowest.get(name, 0), seconds)
            if kind == "wrong":
                self.wrong.append(f"{name}: {what}")


class Patience(WireBrowser):
    """A browser that waits less long while a host is down."""

    def __init__(self, url: str, authority: Path, weather: Weather) -> None:
        super().__init__(url, authority)
        self._weather = weather
        send = self._http.send

        def send_with_patience(*arguments: object, **options: object) -> requests.Response:
            options["timeout"] = IMPATIENT if weather.host_away else PATIENT
            return send(*arguments, **options)  # type: ignore[arg-type]

        self._http.send = send_with_patience  # type: ignore[method-assign]


class Person(Thread):
    """A user who keeps loading pages, and connects again when told to."""

    def __init__(self, maker: Maker, factory: str, weather: Weather) -> None:
        super().__init__(name=maker.email)
        self.maker, self.factory, self._weather = maker, factory, weather
        self.stopping = Event()
        #: Correct pages in a row.
        self.served = 0
        self.reconnects = 0

    def run(self) -> None:
        for path in itertools.cycle(PATHS):
            if self.stopping.wait(0.1):
                return
            self.look(path)

    def look(self, path: str) -> str:
        """Load one page, and record the result."""
        weather = self._weather
        name, away, began = weather.name, weather.host_away, time.monotonic()
        page: Page | None = None
        try:
            page = self.maker.get(path)
            what = f"{path} {page.status} {page.text}"
        except requests.RequestException as error:
            what = f"{path} {type(error).__name__}"
        may_fail = away or weather.host_away
        kind = self._judged(path, page, may_fail=may_fail)
        weather.note(name, kind, time.monotonic() - began, what)
        self.served = self.served + 1 if kind == "right" else 0
        if kind == "ended":
            self._reconnect()
        return kind

    def _judged(self, path: str, page: Page | None, *, may_fail: bool) -> str:
        if page is None:
            return "no answer" if may_fail else "wrong"
        if page.status in (502, 504) and "<center>nginx" in page.text:
            return "proxy" if may_fail else "wrong"
        if page.status == 503 and any(title in page.text for title in EXPLANATIONS):
            return "explained"
        if ENDED in page.text or (page.status == 200 and "has ended this app" in page.text):
            return "ended"
        if page.status == 200 and self.reconnects and NOT_READ.search(page.text):
            return "read anew"
        return "right" if page.status == 200 and self._is_right(path, page.text) else "wrong"

    def _is_right(self, path: str, text: str) -> bool:
        if path == "/live":
            return FACTORIES[self.factory].replace("&amp;", "&") in text
        others = [name for key, name in FACTORIES.items() if key != self.factory]
        return bool(re.search(r"SO-\d+", text)) and not any(name in text for name in others)

    def _reconnect(self) -> None:
        # The fault may hit this request too. The next page then tells the user again to connect.
        with suppress(AssertionError, requests.RequestException):
            self.reconnects += 1
            self.maker.connect(factory=self.factory)


class Trade(Thread):
    """Creates orders in each factory, so that webhooks are sent and workers are busy."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        # A session of `requests` must not be shared by two threads.
        self._sandbox = Sandbox(sandbox.url, sandbox.client_id, sandbox.client_secret)
        self.stopping = Event()

    def run(self) -> None:
        for factory in itertools.cycle(FACTORIES):
            if self.stopping.wait(0.5):
                break
            self._sandbox.happen("new_order", factory=factory)
        self._sandbox.close()


@dataclass
class Sent:
    """One refresh request as the sandbox received it."""

    address: str
    fingerprint: str
    #: When its response was sent; None before.
    answered: float | None = None


class Gate:
    """Records each refresh, and delays the response to the next one of a chosen host."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self._lock, self._held, self._open = Lock(), Event(), Event()
        self._chosen: str | None = None

    def watch(self, app: Flask) -> None:
        """Record every request and response of a sandbox."""
        app.before_request(self._arrive)
        app.after_request(self._leave)

    @contextmanager
    def holding(self, host: Host) -> Iterator[Sent]:
        """Within the context a response to this host is held back. The token is already spent."""
        self._held.clear()
        self._open.clear()
        self._chosen = host.address
        try:
            until(self._held.is_set, lambda: f"{host.name} refreshes nothing")
            yield next(
                one
                for one in reversed(self.sent)
                if one.address == host.address and not one.answered
            )
        finally:
            self._open.set()

    def may_be_lost(self, host: Host) -> set[str]:
        """The refresh tokens of this host whose responses were not sent, or only just now."""
        since = time.monotonic() - 2
        mine = [one for one in self.sent if one.address == host.address]
        return {one.fingerprint for one in mine if not one.answered or one.answered > since}

    def _arrive(self) -> None:
        if request.form.get("grant_type") == "refresh_token":
            token = fingerprint(request.form["refresh_token"])
            self.sent.append(Sent(request.remote_addr or "", token))
            request.environ["tests.sent"] = self.sent[-1]

    def _leave(self, response: Response) -> Response:
        sent: Sent | None = request.environ.get("tests.sent")
        if sent is None:
            return response
        with self._lock:
            chosen = sent.address == self._chosen and response.status_code == 200
            if chosen:
                self._chosen = None
        if chosen:
            self._held.set()
            self._open.wait(120)
        sent.answered = time.monotonic()
        return response


@dataclass(frozen=True)
class Theirs:
    """The connection of one user."""

    app: Flask
    sandbox: Sandbox
    email: str

    @property
    def row(self) -> Connection:
        """The stored row."""
        with self.app.app_context():
            found = select(Connection).join(User, User.id == Connection.user_id)
            row = db.session.scalars(found.where(User.email == self.email)).one()
            db.session.expunge(row)
            return row

    @property
    def id(self) -> UUID:
        """The id of the row."""
        return self.row.id

    @property
    def clock(self) -> Clock:
        """The system's clock."""
        return SystemClock()

    def family(self) -> Family:
        """The grant of the stored refresh token."""
        row = self.row
        vault = Vault(load(self.app.config["TESTS_ENVIRON"]).token_keys)
        token = vault.open(
            row.sealed_refresh_token, sealed_grant.refresh_token_aad(row.id, row.user_id)
        )
        stored = hashlib.sha256(token.encode()).hexdigest()[:16]
        (family,) = [
            family
            for family in self.sandbox.ledger().families
            if family.refresh_tokens[-1].fingerprint == stored
        ]
        return family


class Site:
    """All hosts and their processes."""

    def __init__(self, stack: ExitStack, net: Lan, folder: Path, server: Postgres) -> None:
        self._stack, self._net, self._folder = stack, net, folder
        self.server = server
        self.weather, self.gate = Weather(), Gate()
        self.hosts = net.hosts
        self.served: dict[str, Served] = {}
        self.lost: set[str] = set()
        self.held: set[str] = set()
        self.clock = MachineClock(folder / "clock")
        self.people: list[Person] = []
        self.trade: Trade

    def start(self, migrate: Callable[[str], None]) -> None:
        """Start everything except the users."""
        direct = self.server.create("app")
        migrate(direct)
        hosts = self.hosts
        self.front = self._proxy()
        self.sandbox = self._sandbox()
        with hosts["database"].entered():
            port = make_url(self._stack.enter_context(pooled(direct, POOLER))).port
        self.pooler = f"postgresql://postgres@{hosts['database'].address}:{port}/app"
        sandbox_port = int(self.sandbox.url.rpartition(":")[2])
        for name in ("users", *WEB, *WORKERS):
            hosts[name].forward(sandbox_port, hosts["sandbox"])
        for name in ("users", "sandbox"):
            hosts[name].forward(self.front.port, hosts["proxy"])
        self.environ = self._settings()
        for name in WEB:
            self.serve(name)
        for name in WORKERS:
            self.work(name)
        servers = [f"{hosts[name].address}:{PORT}" for name in WEB]
        with hosts["proxy"].entered():
            nginx = find_nginx() or cannot_run("nginx is not installed")
            self._stack.enter_context(fronts.running(nginx, self.front, servers))
        self.app = create_app(self.environ | {"DATABASE_URL": direct})
        self.app.config["TESTS_ENVIRON"] = self.environ
        self._stack.callback(self._close_app)

    def serve(self, name: str) -> None:
        """Start the app on a web host."""
        environ = self.environ | (self.clock.environ if name == "web3" else {})
        with self.hosts[name].entered():
            listener = _listener()
            self.served[name] = self._stack.enter_context(
                gunicorn(environ, listener, self._log(name), folder=self._clone(name), by_name=True)
            )

    def work(self, name: str) -> None:
        """Start the worker on a worker host."""
        environ = self.environ | (self.clock.environ if name == "worker2" else {})
        with self.hosts[name].entered(), self._log(name).open("a") as log:
            process = flask(environ, "worker", folder=self._clone(name), output=log)
        self._stack.callback(process.wait, 60)
        self._stack.callback(process.terminate)

    def populate(self) -> None:
        """Users sign up, connect, and load their orders."""
        for name, factory in zip(USERS, itertools.cycle(FACTORIES), strict=False):
            browser = Patience(self.front.url, self.front.authority, self.weather)
            self._stack.callback(browser.close)
            maker = Maker(browser, self.sandbox, name)
            maker.sign_up()
            maker.connect(factory=factory)
            self.people.append(Person(maker, factory, self.weather))
        for person in self.people:
            until(partial(self._has_orders, person))
        self.weather.seen.clear()
        self.weather.wrong.clear()
        self.trade = Trade(self.sandbox)
        for thread in (*self.people, self.trade):
            thread.start()

    @staticmethod
    def _has_orders(person: Person) -> bool:
        return person.look("/orders") == "right"

    def disperse(self) -> None:
        """Stop all users and all new orders."""
        busy: list[Person | Trade] = [*self.people, self.trade]
        for thread in busy:
            thread.stopping.set()
        for thread in busy:
            thread.join()

    @contextmanager
    def trouble(self, name: str, *, host_away: bool = False) -> Iterator[None]:
        """A fault within the context. At the end, wait until all users get correct pages."""
        before, began = len(self.gate.sent), time.monotonic()
        self.weather.name, self.weather.host_away = name, host_away
        yield
        self.until_served()
        until(lambda: len(self.gate.sent) > before, lambda: "nothing is refreshed")
        self.weather.host_away = False
        self.weather.seconds[name] = time.monotonic() - began
        self.weather.refreshes[name] = len(self.gate.sent) - before

    def until_served(self) -> None:
        """Wait until all users have got only correct pages for a while."""
        for person in self.people:
            person.served = 0
        until(
            lambda: all(person.served >= 2 * len(PATHS) for person in self.people),
            lambda: f"not everybody is served: {[(p.name, p.served) for p in self.people]}",
        )

    def ended(self) -> set[str]:
        """The refresh tokens that were sent twice, which ended their grants."""
        return {
            token.fingerprint
            for family in self.sandbox.ledger().families
            for token in family.refresh_tokens
            if family.reason == "reuse" and token.presented > 1
        }

    def until_ended(self, sent: Sent) -> None:
        """Wait until the token whose response was lost is sent again."""
        until(lambda: sent.fingerprint in self.ended(), lambda: "it was not taken over")

    def clock_error(self, name: str) -> float:
        """How far the time in a host's latest log line is ahead, in seconds."""
        said = re.findall(r'(?m)^{"time": "([^"]+)"', self._log(name).read_text())[-1]
        return (datetime.fromisoformat(said) - datetime.now(UTC)).total_seconds()

    def logs(self) -> Mapping[str, str]:
        """The logs of all hosts."""
        found = {path.stem: path.read_text() for path in self._folder.glob("*.log")}
        return found | {"nginx": self.front.logs()}

    def table(self) -> str:
        """A table of what users saw, with one line for each fault."""
        weather = self.weather
        kinds = ("right", "explained", "ended", "read anew", "proxy", "no answer", "wrong")
        heads = (
            *("right", "503 that says why", "told to reconnect", "copy read anew"),
            *("nginx 502/504", "gave up", "wrong"),
        )
        lines = [f"| trouble | seconds | {' | '.join(heads)} | slowest | refreshes |"]
        lines.append("| --- |" + " ---: |" * (len(heads) + 3))
        for name, seconds in weather.seconds.items():
            counts = " | ".join(str(weather.seen[name, kind]) for kind in kinds)
            slowest = weather.slowest.get(name, 0)
            refreshes = weather.refreshes[name]
            lines.append(f"| {name} | {seconds:.0f} | {counts} | {slowest:.1f} s | {refreshes} |")
        return "\n".join(lines)

    def _proxy(self) -> Nginx:
        with self.hosts["proxy"].entered():
            front = self._stack.enter_context(fronts.placed(self._folder / "nginx"))
        return replace(front, address=self.hosts["proxy"].address)

    def _sandbox(self) -> Sandbox:
        from sandbox import create_sandbox

        client_id, client_secret = f"client-{token_hex(4)}", token_hex(32)
        authority = str(self.front.authority)
        app = create_sandbox(
            client_id=client_id,
            client_secret=client_secret,
            redirect_uri=f"{self.front.url}/katana/callback",
            authority=authority,
        )
        self.gate.watch(app)
        host = self.hosts["sandbox"]
        with host.entered():  # its threads, which also post to webhooks, belong to this host
            url = self._stack.enter_context(serving(app, host.address))
        sandbox = Sandbox(url, client_id, client_secret)
        self._stack.callback(sandbox.close)
        return sandbox

    def _settings(self) -> dict[str, str]:
        return {
            **new_secrets(),
            **self.sandbox.settings(),
            "KATANA_REDIRECT_URI": f"{self.front.url}/katana/callback",
            "KATANA_AUDIENCE": "https://api.katanamrp.com",
            "DATABASE_URL": self.pooler,
            "TRUSTED_HOSTS": "localhost",
            "PROXY_HOPS": "1",
        }

    def _clone(self, name: str) -> Path:
        path = self._folder / name
        if not path.exists():
            clone = Clone(path)
            wsgi = clone.path / "wsgi.py"
            wsgi.write_text(wsgi.read_text() + LIVE_PAGE)
        return path

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _close_app(self) -> None:
        with self.app.app_context():
            db.engine.dispose()


def _listener() -> socket.socket:
    """A listening socket of this host. The port of a killed process is free a moment later."""
    bound: list[socket.socket] = []

    def is_bound() -> bool:
        with suppress(OSError):
            bound.append(socket.create_server(("0.0.0.0", PORT)))
        return bool(bound)

    until(is_bound)
    return bound[0]
