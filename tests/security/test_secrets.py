"""Secrets stay where they belong, seen from outside: S-37 to S-43, each test named by its item.

Everything here is over HTTP, against two workers, or by starting the real server. What is not here:

S-39: `asdict` and pickle of a holder hold its secrets, and so do local variables, as a debugger or
an error reporter shows them; the app makes none of these, and README says what a fork must not.
S-41: an older value of the same row and column opens there: it is that user's own spent token.
S-43: which store the keys come from is the deployment's; here they are in the environment.
"""

import ast
import base64
import logging
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from flask import Flask
from sqlalchemy import create_engine, event, select, text, update
from sqlalchemy.engine import make_url

from app import connections, create_app
from app.connections import sealed_grant, start_up
from app.connections.attempts import Attempt
from app.connections.fleet.key_rotation import SealedValue
from app.connections.models import Connection
from app.connections.vault import Vault
from app.credentials import TokenKey
from app.database.clock import SystemClock
from app.database.db import Model, db
from app.errors import ConfigurationError
from app.katana.oauth import Grant
from app.pages.callback_parameters import KatanaAnswer
from app.settings.config import ROOT, SETTINGS, Settings, load
from tests.conftest import MakeApp
from tests.support.actors import ClientBrowser, Maker, WireBrowser
from tests.support.clocks import HeldClock
from tests.support.clones import Clone
from tests.support.commands import ended, flask, run
from tests.support.connected import MakeConnected
from tests.support.crowds import crowd
from tests.support.pages import Page
from tests.support.rig import Rig
from tests.support.sandbox import Sandbox
from tests.support.servers import gunicorn, listening

pytestmark = pytest.mark.slow_on("postgresql")

END_SECONDS = 60
LOOKS = 10


def new_key(kid: str) -> str:
    """A fresh key of this name, as in TOKEN_ENCRYPTION_KEYS."""
    return f"{kid}:{base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}"


def refusal(environ: Mapping[str, str], folder: Path = ROOT) -> str:
    """What gunicorn says when it ends by itself; AssertionError where it serves."""
    served = subprocess.run(
        (sys.executable, "-m", "gunicorn", "wsgi:app"),
        cwd=folder,
        env={"PATH": os.environ["PATH"], "GUNICORN_BIND": "127.0.0.1:0", **environ},
        capture_output=True,
        text=True,
        timeout=END_SECONDS,
        check=False,
    )
    assert served.returncode != 0
    return served.stdout + served.stderr


def stored(app: Flask) -> list[tuple[object, ...]]:
    """Every connection, to the byte."""
    with app.app_context():
        return [tuple(row) for row in db.session.execute(text("SELECT * FROM connections"))]


ALDER, WICK = "Alder &amp; Spoke Bicycles", "Tallow &amp; Wick"
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


@pytest.mark.slow_on("postgresql")
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
    }
    assert not [
        told
        for told in found
        if not told.startswith("sandbox/")
        and told.split(":")[0].removeprefix("app/") not in without_secrets
    ], "See whether a secret can be in it; if none can, name the file here."


Tokens = tuple[bytes, bytes]
#: What somebody who can write to the database does to Ada's two tokens, given Bea's.
TAMPERING: dict[str, Callable[[Tokens, Tokens], Tokens]] = {
    "Bea's": lambda _ada, bea: bea,
    "Bea's access token": lambda ada, bea: (bea[0], ada[1]),
    "exchanged": lambda ada, _bea: (ada[1], ada[0]),
    "a bit": lambda ada, _bea: (ada[0][:-1] + bytes([ada[0][-1] ^ 1]), ada[1]),
    "cut": lambda ada, _bea: (ada[0][:-1], ada[1][:-1]),
    "nothing": lambda _ada, _bea: (b"", b""),
    "plain": lambda _ada, _bea: (b"plain-access-token", b"plain-refresh-token"),
    "another key's name": lambda ada, _bea: (ada[0][:2] + b"tset" + ada[0][6:], ada[1]),
}


def test_s41_a_token_opens_in_its_own_place_alone(rig: Rig) -> None:
    """S-41: whatever was pasted into her row, Ada sees no other's data and loses nothing; Bea, and
    Katana, notice nothing."""
    ada, bea = rig.maker("ada"), rig.maker("bea")
    for maker, factory in ((ada, None), (bea, "tallow-and-wick")):
        maker.sign_up()
        maker.connect(factory=factory)
    own, hers = tokens_of(rig, ada), tokens_of(rig, bea)

    for what, tamper in TAMPERING.items():
        store(rig, ada, tamper(own, hers))
        asked = len(rig.sandbox.ledger().of("api"))
        page = ada.dashboard()
        assert page.status in {200, 500}, what
        assert WICK not in page.text, what
        assert len(rig.sandbox.ledger().of("api")) == asked, what
        assert WICK in bea.dashboard().text, what

    store(rig, ada, own)
    assert ALDER in ada.dashboard().text
    assert [family.state for family in rig.sandbox.ledger().families] == ["live", "live"]
    assert not rig.sandbox.ledger().of("refresh")


def tokens_of(rig: Rig, maker: Maker) -> Tokens:
    """A maker's tokens as they are stored."""
    with rig.app.app_context():
        found = db.session.execute(
            text(
                "SELECT sealed_access_token, sealed_refresh_token FROM connections "
                "JOIN users ON users.id = user_id WHERE email = :email"
            ),
            {"email": maker.email},
        ).one()
    return bytes(found[0]), bytes(found[1])


def store(rig: Rig, maker: Maker, tokens: Tokens) -> None:
    """Put these into the row of `maker`, by SQL."""
    with rig.app.app_context():
        db.session.execute(
            text(
                "UPDATE connections SET sealed_access_token = :access, "
                "sealed_refresh_token = :refresh, next_attempt_at = NULL "
                "WHERE user_id = (SELECT id FROM users WHERE email = :email)"
            ),
            {"access": tokens[0], "refresh": tokens[1], "email": maker.email},
        )
        db.session.commit()


def test_s42_a_wrong_key_serves_nobody_and_touches_no_row(
    app: Flask, environ: dict[str, str], new_connected: MakeConnected
) -> None:
    """S-42: gunicorn ends and names the key; with the right one back everything works."""
    connected = new_connected()
    before, wrong = stored(app), new_key("test")

    said = refusal(environ | {"TOKEN_ENCRYPTION_KEYS": wrong})

    assert "TOKEN_ENCRYPTION_KEYS" in said
    assert "'test'" in said
    assert wrong.partition(":")[2] not in said
    assert stored(app) == before
    start_up.check(app)
    connected.expire()
    assert run(app, "connections", "refresh", str(connected.id)).status == 0
    assert connected.holds_the_living_token()


def test_s42_a_key_that_was_taken_away_too_early_is_asked_for(
    app: Flask, new_connected: MakeConnected
) -> None:
    """S-42: the oldest tokens wait for it; that all newer ones open is not enough."""
    new_connected()
    lost = Vault([TokenKey("lost", secrets.token_bytes(32))])
    with app.app_context():
        vault = connections.current().vault
        oldest = crowd(app, vault, start_up.TRIED + 10)[:5]
        for connection in db.session.scalars(select(Connection).where(Connection.id.in_(oldest))):
            place = sealed_grant.access_token_aad(connection.id, connection.user_id)
            connection.sealed_access_token = lost.seal("unknown", place)
        db.session.commit()

    with pytest.raises(ConfigurationError, match="lacks the key 'lost'"):
        start_up.check(app)


def test_s42_a_damaged_row_keeps_nobody_from_being_served(
    app: Flask, new_connected: MakeConnected
) -> None:
    """R-24: a row that opens with no key is one user's trouble, not everybody's."""
    new_connected("ada")
    poisoned = new_connected("bea")
    with app.app_context():
        db.session.execute(
            update(Connection)
            .where(Connection.id == poisoned.id)
            .values(sealed_access_token=b"\x01\x04lost", sealed_refresh_token=b"nothing")
        )
        db.session.commit()

    start_up.check(app)


def test_s42_without_a_database_the_keys_are_not_judged(new_app: MakeApp) -> None:
    """S-81: a database that is away, or has no tables yet, says nothing against a key."""
    for url in ("postgresql://nobody@127.0.0.1:9/nothing", "sqlite://"):
        start_up.check(new_app(DATABASE_URL=url))


@pytest.mark.slow_on("sqlite")
def test_s42_keys_are_changed_beside_live_traffic(
    app: Flask,
    new_app: MakeApp,
    sandbox: Sandbox,
    environ: dict[str, str],
    listener: socket.socket,
    tmp_path: Path,
) -> None:
    """S-42: servers with the old key first and with the new one renew everything again and again
    while `flask keys rotate` runs; nothing is lost, and then the new key is enough."""
    old, new = environ["TOKEN_ENCRYPTION_KEYS"], new_key("new")
    before, after = (
        environ | {"TOKEN_ENCRYPTION_KEYS": ring} for ring in (f"{old},{new}", f"{new},{old}")
    )
    sandbox.rules(requests_per_minute=100_000)
    with (
        listening() as another,
        gunicorn(before, listener, tmp_path / "before.log", workers=1) as one,
        gunicorn(after, another, tmp_path / "after.log", workers=1) as other,
        closing(WireBrowser(one.url)) as here,
        closing(WireBrowser(other.url)) as there,
    ):
        ada = Maker(here, sandbox)
        ada.sign_up()
        ada.connect()
        again = Maker(there, sandbox)
        again.sign_in()
        traffic = [threading.Thread(target=look, args=(app, maker)) for maker in (ada, again)]
        for thread in traffic:
            thread.start()
        while any(thread.is_alive() for thread in traffic):
            assert ended(flask(after, "keys", "rotate")).status == 0
        for thread in traffic:
            thread.join()
    assert ended(flask(after, "keys", "rotate")).status == 0

    alone = new_app(TOKEN_ENCRYPTION_KEYS=new)
    start_up.check(alone)
    ada = Maker(ClientBrowser(alone.test_client()), sandbox)
    ada.sign_in()
    sandbox.expire()
    assert ALDER in ada.dashboard().text
    (family,) = sandbox.ledger().families
    assert family.state == "live"
    assert len(family.refresh_tokens) > LOOKS
    assert not [token for token in family.refresh_tokens if token.presented > 1]


def look(app: Flask, maker: Maker) -> None:
    """Load the dashboard again and again, each time with a token that is to be renewed."""
    for _ in range(LOOKS):
        make_due(app)
        assert ALDER in maker.dashboard().text


WRONG = {
    "KATANA_CLIENT_SECRET": f"<{CANARY}>",
    "KATANA_REDIRECT_URI": f"http://{CANARY}.test/katana/callback",
    "KATANA_ACCESS_TOKEN_URL": f"http://{CANARY}.test/oauth/token",
    "SECRET_KEY": "canary",
    "SECRET_KEY_FALLBACKS": "canary-earlier",
    "TOKEN_ENCRYPTION_KEYS": "k1:Y2FuYXJ5",
    "DATABASE_URL": f"mysql://user:{CANARY}@host/app",
    "LOG_LEVEL": "canary",
}
WITH_USERS = {
    **ENVIRON,
    "KATANA_CLIENT_SECRET": ENVIRON["SECRET_KEY"],
    "FLASK_DEBUG": "1",
    "TESTING": "1",
    "AUTHLIB_INSECURE_TRANSPORT": "1",
}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (WRONG, [*WRONG, "KATANA_CLIENT_ID"]),
        (
            WITH_USERS,
            ["SECRET_KEY", "FLASK_DEBUG", "TESTING", "AUTHLIB_INSECURE_TRANSPORT"],
        ),
    ],
    ids=["wrong", "for developers"],
)
def test_s43_s74_wrong_settings_serve_nobody(
    clone: Clone, wrong: dict[str, str], named: list[str]
) -> None:
    """S-43, S-74: gunicorn ends, names every one of them at once, and no value."""
    said = refusal(dict.fromkeys(SETTINGS, " ") | wrong, clone.path)

    assert [name for name in named if f"- {name} " not in said] == []
    assert "canary" not in said.lower()
