"""Secrets stay where they belong, seen from outside: S-37 to S-40, each test named by its item.

Everything here is over HTTP, against two workers, or by starting the real server. What is not here:

S-39: `asdict` and pickle of a holder hold its secrets, and so do local variables, as a debugger or
an error reporter shows them; the app makes none of these, and README says what a fork must not.
S-41: an older value of the same row and column opens there: it is that user's own spent token.
S-43: which store the keys come from is the deployment's; here they are in the environment.
"""

import ast
import base64
import logging
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from flask import Flask
from sqlalchemy import create_engine, event, select, update
from sqlalchemy.engine import make_url

from app import connections, create_app
from app.connections import sealed_grant
from app.connections.attempts import Attempt
from app.connections.fleet.key_rotation import SealedValue
from app.connections.models import Connection
from app.connections.vault import Vault
from app.database.clock import SystemClock
from app.database.db import Model, db
from app.katana.oauth import Grant
from app.pages.callback_parameters import KatanaAnswer
from app.settings.config import ROOT, Settings, load
from tests.support.actors import ClientBrowser, Maker
from tests.support.clocks import HeldClock
from tests.support.pages import Page
from tests.support.rig import Rig
from tests.support.sandbox import Sandbox
from tests.support.servers import gunicorn

END_SECONDS = 60
CANARY = "canary-5d07e2-0123456789"
FAULTS = (
    ("exchange", "drop_before"),
    ("exchange", "body"),
    ("exchange", "invalid_grant"),
    ("refresh", "body"),
    ("refresh", "lose_answer"),
    ("refresh", "invalid_grant"),
    ("api", "status"),
    ("revoke", "drop_before"),
)


def test_s37_s38_s40_no_secret_is_written_down(rig: Rig) -> None:
    """S-10, S-37, S-38, S-40: whatever fails at Katana, neither in the log at DEBUG, nor on a page
    or in a cookie, nor in the database but sealed."""
    ada = rig.maker("ada")
    ada.sign_up()
    ada.connect()
    for on, fault in FAULTS:
        rig.sandbox.fault(on, fault, **({"status": 500} if fault == "status" else {}))
        if on == "exchange":
            ada.connect()
        elif on == "revoke":
            ada.disconnect()
        else:
            make_due(rig.app)
            ada.dashboard()
        rig.sandbox.clear_faults()
    ada.connect()
    ada.get("/katana/callback?code=somebody-elses-code&state=somebody-elses-state")
    ada.begin()

    kept = database(rig)
    assert len(rig.secrets()) > 30
    assert not [secret for secret in rig.secrets() if secret.encode() in kept]


@pytest.mark.one_database
def test_s37_no_library_tells_a_secret_either(
    maker: Maker, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """S-37, A-19: with every logger at DEBUG, Authlib's and that of the sockets too."""
    caplog.set_level(logging.DEBUG)
    maker.sign_up()
    maker.connect()
    sandbox.expire()
    maker.dashboard()
    maker.disconnect()

    assert "urllib3" in {record.name.split(".")[0] for record in caplog.records}
    assert len(sandbox.secrets) > 5
    assert not [secret for secret in (*sandbox.secrets, maker.password) if secret in caplog.text]


UNFORESEEN = """
def app(environ, start_response):
    if environ["PATH_INFO"] != "/healthz":
        raise RuntimeError("whatever Flask did not catch")

    start_response("200 OK", [("Content-Length", "0")])
    return []
"""


@pytest.mark.one_database
def test_s37_gunicorn_writes_no_query(
    environ: dict[str, str], listener: socket.socket, tmp_path: Path
) -> None:
    """S-37: nor where it cannot go on, or not even begin, and says with what."""
    (tmp_path / "unforeseen.py").write_text(UNFORESEEN)
    unforeseen = (sys.executable, "-m", "gunicorn", "unforeseen:app")
    query = f"/katana/callback?code={CANARY}&state={CANARY}"
    sent = environ | {"PYTHONPATH": str(tmp_path)}
    with gunicorn(sent, listener, tmp_path / "log", command=unforeseen) as served:
        answer = requests.get(served.url + query, timeout=END_SECONDS)
        with socket.create_connection(("127.0.0.1", listener.getsockname()[1])) as sock:
            sock.sendall(f"GET {query} HTTP/1.1 and more\r\nHost: localhost\r\n\r\n".encode())
            refused = sock.recv(100)

    log = served.log()
    assert answer.status_code == 500
    assert b" 400 " in refused
    assert "whatever Flask did not catch" in log
    assert "/katana/callback?..." in log
    assert CANARY not in log


def make_due(app: Flask) -> None:
    """Let whoever comes by renew the connections, whose tokens are still good."""
    now = SystemClock().database_time
    with app.app_context():
        db.session.execute(
            update(Connection).values(
                renew_at=now(-1), next_attempt_at=None, sent_at=None, doubtful_since=None
            )
        )
        db.session.commit()


def database(rig: Rig) -> bytes:
    """All that is stored: every value, and on SQLite each file, the journal among them."""
    with rig.app.app_context():
        values = [
            value if isinstance(value, bytes) else str(value).encode()
            for table in Model.metadata.sorted_tables
            for row in db.session.execute(select(table))
            for value in row
        ]
        db.session.rollback()
    file = Path(make_url(rig.environ["DATABASE_URL"]).database or "")
    files = [path.read_bytes() for path in file.parent.glob(f"{file.name}*") if path.is_file()]
    return b"\n".join([*values, *files])


@contextmanager
def failing(app: Flask, at: int) -> Iterator[list[str]]:
    """Let the statement with this number fail, for the database's own reason; lists those seen."""
    seen: list[str] = []

    def execute(_connection, _cursor, statement, parameters, _context, _many):  # type: ignore[no-untyped-def]
        seen.append(statement)
        return (f"{statement} nonsense", parameters) if len(seen) == at else (statement, parameters)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", execute, retval=True)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", execute)


@pytest.mark.slow
def test_s39_each_statement_failing_in_turn_tells_nothing(
    environ: dict[str, str], sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """S-37, S-39: wherever the database fails on the way, no page and no traceback has a secret."""
    caplog.set_level(logging.DEBUG)
    clock = HeldClock()
    app = create_app(environ | {"LOG_LEVEL": "DEBUG"}, clock)
    watched = Watched(ClientBrowser(app.test_client()))
    ada = Maker(watched, sandbox)
    numbers = count(1)
    failed: list[str] = []

    def somebody_new() -> None:
        watched.browser = ClientBrowser(app.test_client())
        ada.email = f"maker{next(numbers)}@workshop.example"
        ada.sign_up()

    for step in (somebody_new, ada.connect, ada.dashboard, ada.disconnect):
        for at in count(1):
            if step == ada.disconnect:
                ada.connect()
            # Whatever the failure before has left, a lease or a pause, is over.
            clock.move(3600)
            # A page may lack the form that the next step needs.
            with failing(app, at) as seen, suppress(AssertionError):
                step()
            if len(seen) < at:
                break
            failed.append(seen[at - 1])
    with app.app_context():
        db.engine.dispose()

    written = {" ".join(statement.split()[:3]) for statement in failed}
    assert {"INSERT INTO users", "INSERT INTO connect_attempts"} < written
    assert {"UPDATE connections SET", "DELETE FROM connections"} < written
    shown = caplog.text + "".join(f"{page.text}{page.headers}" for page in watched.pages)
    told = [secret for secret in (*sandbox.secrets, ada.password) if secret in shown]
    assert not told


class Watched:
    """A browser that keeps every answer."""

    def __init__(self, browser: ClientBrowser) -> None:
        self.browser = browser
        self.pages: list[Page] = []

    def send(self, method: str, url: str, form: Mapping[str, str] | None = None) -> Page:
        page = self.browser.send(method, url, form)
        self.pages.append(page)
        return page


ENVIRON = {
    "KATANA_CLIENT_ID": "workshop",
    "KATANA_CLIENT_SECRET": f"{CANARY}-client",
    "KATANA_REDIRECT_URI": "https://workshop.test/katana/callback",
    "SECRET_KEY": f"{CANARY}-signing-abcdefghijklmnop",
    "SECRET_KEY_FALLBACKS": f"{CANARY}-earlier-abcdefghijklmnop",
    "TOKEN_ENCRYPTION_KEYS": f"k1:{base64.b64encode(f'{CANARY}-sealing'.encode()).decode()}",
    "DATABASE_URL": f"postgresql://user:{CANARY}@host/app",
    "RATELIMIT_STORAGE_URI": f"memory://:{CANARY}@host",
}
PLACE = sealed_grant.access_token_aad(uuid4(), 1)


def built(settings: Settings) -> connections.Connections:
    """The core with these settings."""
    engine = create_engine("sqlite://")
    return connections.build(settings.katana, settings.token_keys, engine, Path())


HOLDERS = {
    "settings": lambda: load(ENVIRON),
    "Katana's settings": lambda: load(ENVIRON).katana,
    "key": lambda: load(ENVIRON).token_keys[0],
    "grant": lambda: Grant(CANARY, CANARY, 60, None),
    "attempt": lambda: Attempt(CANARY, CANARY),
    "answer": lambda: KatanaAnswer(CANARY, CANARY, None, None),
    "vault": lambda: Vault(load(ENVIRON).token_keys),
    "sealed value": lambda: SealedValue(uuid4(), PLACE, CANARY.encode()),
    "row": lambda: Connection(sealed_access_token=CANARY.encode(), scope="offline_access"),
    "parts": lambda: built(load(ENVIRON)),
}


@pytest.mark.parametrize("make", HOLDERS.values(), ids=HOLDERS)
def test_s39_what_holds_a_secret_does_not_show_it(make: Callable[[], object]) -> None:
    """S-39: in no repr, text, format, log line or error of it."""
    holder = make()

    shown = [repr(holder), str(holder), f"{holder}", f"{holder!r}", f"{[holder]}"]
    shown.append(repr(ValueError(holder)))

    key = ENVIRON["TOKEN_ENCRYPTION_KEYS"].removeprefix("k1:")
    assert not [text for text in shown if CANARY in text or key in text or "canary" in text]


def test_s39_nothing_turns_a_holder_inside_out() -> None:
    """S-39: what is not redacted is not used: nothing in the app pickles, nor copies to a dict what
    could hold a secret."""
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "app").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom | ast.Import)
        for name in (alias.name for alias in node.names)
        if name in {"pickle", "shelve", "marshal", "asdict", "astuple"}
    ]

    without_secrets = {
        "operations/doctor/__init__.py",
        "connections/history.py",
        "operations/doctor_echo.py",
        "sync/feed.py",
    }
    assert not [
        told
        for told in found
        if not told.startswith("sandbox/")
        and told.split(":")[0].removeprefix("app/") not in without_secrets
    ], "See whether a secret can be in it; if none can, name the file here."
