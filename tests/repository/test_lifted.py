"""Does the steps of docs/into-your-app.md to an application that knows nothing of Katana.

The application is in lifted/bakery. What is added to it is read from the page, so neither can
change without the other.
"""

import base64
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from app.settings.config import ROOT
from tests.support.actors import WireBrowser
from tests.support.pages import Page
from tests.support.postgres import Postgres
from tests.support.sandbox import Sandbox, running_sandbox
from tests.support.servers import STOP_SECONDS, listening

pytestmark = pytest.mark.sandbox

BAKERY = ROOT / "tests" / "repository" / "lifted" / "bakery"
PAGE = (ROOT / "docs" / "into-your-app.md").read_text()
LIFTED = ("connections", "katana", "database", "credentials.py", "errors.py")
AT_ONCE = 16
STAGE = """
import uuid
from types import SimpleNamespace
from bakery import create_app
from bakery.connections import current
from bakery.connections.sealed_grant import SealedGrant
app = create_app()
with app.app_context():
    lease = SimpleNamespace(
        connection_id=uuid.uuid4(), user_id=uuid.uuid4(), generation=1, owner="o", fence=1
    )
    current().staged.stage(lease, SealedGrant(None, None, None, 0, 0))
    (staged,) = current().staged.waiting()
    assert staged.user_id == lease.user_id
"""


def blocks(language: str) -> list[str]:
    """The code blocks of the page in one language, in order."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", PAGE)


class Bakery:
    """The application in a folder of its own, and what it is told by the environment."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        shutil.copytree(BAKERY, folder / "bakery", ignore=shutil.ignore_patterns("__pycache__"))
        system = {name: value for name, value in os.environ.items() if name in {"HOME", "TMPDIR"}}
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        self.environ = {**system, "PATH": path, **environ}

    def run(self, *command: str, script: str | None = None) -> str:
        """What a command in its folder writes; the command ends well."""
        ended = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environ,
            input=script,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    def migrate_what_it_has(self) -> None:
        """Its own migrations, of its own table."""
        for step in (("init",), ("migrate", "-m", "Bakers"), ("upgrade",)):
            self.run("flask", "--app", "bakery", "db", *step)

    def copy_the_core(self) -> None:
        """Step 1."""
        self.run("bash", "-e", script=blocks("sh")[0])

    def write_the_files(self) -> None:
        """Steps 2 to 5: each block goes to the file that its first line names."""
        for block in blocks("python"):
            where, _, code = block.partition("\n")
            (name,) = re.findall(r"[\w/]+\.py", where)
            if where.startswith("# at the end of create_app()"):
                old = (self.folder / name).read_text()
                code = old.replace("    return app\n", f"{code}    return app\n", 1)
            (self.folder / name).write_text(code)

    def migrate(self) -> str:
        """Step 6."""
        return self.run("bash", "-e", script=blocks("sh")[1])

    @contextmanager
    def served(self, listener: socket.socket) -> Iterator[None]:
        """Step 7: the command of the page, on a socket that is already listening."""
        command = blocks("sh")[2].split()
        log_file = self.folder / "log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                (*command, "--bind", f"fd://{listener.fileno()}"),
                cwd=self.folder,
                env=self.environ,
                pass_fds=(listener.fileno(),),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)

    def delete_users(self) -> None:
        """Delete every user, as the bakery could."""
        engine = create_engine(self.environ["BAKERY_DATABASE"])
        with engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                connection.execute(text("PRAGMA foreign_keys = ON"))
            connection.execute(text("DELETE FROM bakers"))
        engine.dispose()

    def stored(self, query: str) -> Any:
        """What the database holds: the first value of the first row."""
        engine = create_engine(self.environ["BAKERY_DATABASE"])
        with engine.connect() as connection:
            found = connection.execute(text(query)).scalar()
        engine.dispose()
        return found


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]
)
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """An empty database, as SQLAlchemy names it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('database') / 'bakery.db'}"
        return

    server: Postgres = request.getfixturevalue("postgres")
    name = f"bakery_{secrets.token_hex(6)}"
    yield server.create(name).replace("postgresql:", "postgresql+psycopg:")
    server.drop(name)


@pytest.fixture(scope="module")
def address() -> Iterator[socket.socket]:
    """Where the bakery is served."""
    with listening() as listener:
        yield listener


@pytest.fixture(scope="module")
def katana(address: socket.socket) -> Iterator[Sandbox]:
    """Katana, for the bakery."""
    with running_sandbox(f"{url(address)}/katana/callback") as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def bakery(
    tmp_path_factory: pytest.TempPathFactory, database: str, katana: Sandbox, address: socket.socket
) -> Iterator[Bakery]:
    """The application with all steps done, served."""
    key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    environ = {
        **katana.settings(),
        "CONNECT_TO_KATANA": str(ROOT),
        "BAKERY_DATABASE": database,
        "KATANA_REDIRECT_URI": f"{url(address)}/katana/callback",
        "SECRET_KEY": secrets.token_hex(32),
        "TOKEN_ENCRYPTION_KEYS": f"k1:{key}",
    }
    bakery = Bakery(tmp_path_factory.mktemp("project"), environ)
    bakery.migrate_what_it_has()
    bakery.copy_the_core()
    bakery.write_the_files()
    said = bakery.migrate()
    assert said.count("Detected added table") == 4, said
    with bakery.served(address):
        yield bakery


@pytest.fixture
def sandbox(katana: Sandbox) -> Sandbox:
    """Katana, as if it were new."""
    katana.reset()
    return katana


@pytest.fixture
def baker(bakery: Bakery, sandbox: Sandbox, address: socket.socket) -> Iterator[WireBrowser]:
    """The browser of the one user of the bakery."""
    bakery.delete_users()
    browser = sign_in(address, "Ada")
    yield browser
    browser.close()


def url(address: socket.socket) -> str:
    """What stands at the beginning of the bakery's URLs."""
    return f"http://localhost:{address.getsockname()[1]}"


def sign_in(address: socket.socket, name: str) -> WireBrowser:
    """The browser of somebody who is signed in at the bakery."""
    browser = WireBrowser(url(address))
    assert browser.send("POST", "/enter", {"name": name}).status == 303
    return browser


def connect(baker: WireBrowser, sandbox: Sandbox) -> Page:
    """The whole way: the button, Katana's consent page, and back."""
    begun = baker.send("POST", "/katana/connect")
    assert begun.location, f"the button answers {begun.status}: {begun.text}"
    return baker.send("GET", sandbox.approve(begun.location).url)


def test_the_bakery_is_small_and_is_not_ours() -> None:
    """What the core is lifted into stays what the page says."""
    text = "".join(path.read_text() for path in sorted(BAKERY.rglob("*.py")))

    assert len(text.splitlines()) < 80
    assert "app." not in re.sub(r"\bapp\.(config|add_url_rule)", "", text)
    assert "flask_login" not in text


def test_what_is_to_be_installed_is_named() -> None:
    """The packages that the page lists are those that the lifted files import."""
    paths = [path for part in LIFTED for path in sorted((ROOT / "app" / part).rglob("*.py"))]
    paths += [ROOT / "app" / part for part in LIFTED if part.endswith(".py")]
    source = "\n".join(path.read_text() for path in paths)
    imported = set(re.findall(r"(?m)^\s*(?:from|import) (\w+)", source)) - sys.stdlib_module_names

    listed = set(re.findall(r"`([\w-]+)`", PAGE.split("Also install")[1].split("\n")[0]))

    known = {"app", "flask", "flask_sqlalchemy", "flask_migrate", "sqlalchemy", "werkzeug"}
    optional = {"opentelemetry"}  # imported by tracing.set_up() only
    assert imported - known - optional == listed


def test_the_bakery_connects_renews_and_disconnects(
    bakery: Bakery, baker: WireBrowser, sandbox: Sandbox
) -> None:
    """With UUID keys, its own tables and migrations, the core does what it does here."""
    assert baker.send("GET", "/katana/orders").status == 409
    connected = connect(baker, sandbox)
    assert (connected.status, connected.location) == (303, "/"), connected.text

    sandbox.rules(latency_seconds=0.05, requests_per_minute=1000)
    for refreshes in (1, 2):
        sandbox.expire()
        with ThreadPoolExecutor(AT_ONCE) as tabs:
            pages = list(tabs.map(lambda _: baker.send("GET", "/katana/orders"), range(AT_ONCE)))

        assert {page.status for page in pages} == {200}, pages[0].text
        assert all("SO-" in page.text for page in pages)
        ledger = sandbox.ledger()
        assert len(ledger.of("refresh")) == refreshes
        assert [family.state for family in ledger.families] == ["live"]
    assert bakery.stored("SELECT renewals FROM connections") == 2

    assert baker.send("POST", "/katana/disconnect").status == 303

    assert bakery.stored("SELECT count(*) FROM connections") == 0
    assert [family.state for family in sandbox.ledger().families] != ["live"]
    assert baker.send("GET", "/katana/orders").status == 409


@pytest.mark.slow
def test_the_bakery_keeps_alive_what_nobody_uses(
    bakery: Bakery, baker: WireBrowser, sandbox: Sandbox
) -> None:
    """Step 8 leaves alone what was refreshed lately, and refreshes what was not."""
    connect(baker, sandbox)
    (command,) = blocks("sh")[3].splitlines()
    assert command.endswith(" 7")

    said = (
        bakery.run("bash", "-e", script=command),
        bakery.run("bash", "-e", script=command[:-1] + "0"),
    )

    assert "renewed" not in said[0]
    assert "1 renewed" in said[1]
    assert len(sandbox.ledger().of("refresh")) == 1


@pytest.mark.slow
def test_a_callback_belongs_to_the_browser_that_began(
    baker: WireBrowser, sandbox: Sandbox, address: socket.socket
) -> None:
    """Another user's browser cannot finish the connect, and a page that is loaded again can."""
    other = sign_in(address, "Grace")
    begun = baker.send("POST", "/katana/connect")
    assert begun.location
    callback = sandbox.approve(begun.location).url

    stranger = other.send("GET", callback)
    other.close()
    first, again = baker.send("GET", callback), baker.send("GET", callback)

    assert stranger.status == 400
    assert (first.status, again.status) == (303, 303)
    assert len(sandbox.ledger().of("exchange")) == 1


@pytest.mark.slow
def test_a_deleted_baker_leaves_no_tokens(
    bakery: Bakery, baker: WireBrowser, sandbox: Sandbox
) -> None:
    """The core's rows go with the bakery's user."""
    connect(baker, sandbox)
    assert bakery.stored("SELECT count(*) FROM connections") == 1

    bakery.delete_users()

    assert bakery.stored("SELECT count(*) FROM connections") == 0
    assert bakery.stored("SELECT count(*) FROM connection_events") == 0


@pytest.mark.slow
def test_a_staged_response_keeps_a_uuid(bakery: Bakery) -> None:
    """What waits on disk for the database is read back with the user's key."""
    bakery.run(sys.executable, "-c", STAGE)
