"""The fixtures: from an empty database to a user in a browser, all of it real."""

import base64
import gc
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

import flask_migrate
import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import settings
from playwright.sync_api import Browser, Page

from app import create_app
from app.database.clock import Clock, SystemClock
from app.database.db import db
from app.settings.config import ROOT
from tests.support.actors import ClientBrowser, Maker, WireBrowser
from tests.support.browsers import find_chromium, running_chromium
from tests.support.clones import Clone
from tests.support.connected import Connected, MakeConnected
from tests.support.postgres import Postgres, running_postgres
from tests.support.rig import Rig, running_rig
from tests.support.sandbox import Sandbox, running_sandbox
from tests.support.selection import (
    pytest_collection_modifyitems,
    pytest_generate_tests,
    pytest_xdist_auto_num_workers,
)
from tests.support.servers import Served, gunicorn, listening
from tests.support.stage import Stage, running_stage

MakeApp = Callable[..., Flask]
MakeMaker = Callable[..., Maker]

# The same examples in every run, and none judged by how busy the machine is.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")

# Hooks, which pytest finds here.
__all__ = [
    "pytest_collection_modifyitems",
    "pytest_generate_tests",
    "pytest_xdist_auto_num_workers",
]


def cannot_run(reason: str) -> NoReturn:
    """Skip, but where everything must run (CI=true) fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; with CI=true that is a failure")
    pytest.skip(reason)


def program(name: str) -> str:
    """Where a program of a Linux server is; a test that needs it cannot run without."""
    found = shutil.which(name)
    if found is None and sys.platform != "linux":
        pytest.skip(f"{name} is a program of Linux")
    if found is None:
        cannot_run(f"{name} is not installed")
    return found


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for the whole run."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(running_postgres())
        except Exception as error:  # whatever keeps a server from starting on this machine
            cannot_run(f"PostgreSQL does not start here: {error}")
        yield server


@pytest.fixture
def server(postgres: Postgres) -> Iterator[Postgres]:
    """A server of PostgreSQL that no other test uses or stops."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with every table and no row."""
    path = tmp_path_factory.mktemp("migrated") / "app.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres: Postgres) -> str:
    """The name of a PostgreSQL database with every table and no row."""
    _migrate(postgres.create("migrated"))
    return "migrated"


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database without a row."""
    if request.param == "sqlite" and _shares(request):
        stage: Stage = request.getfixturevalue("stage")
        yield stage.empty_database()
        stage.assert_same_tables()
        return

    with _fresh_database(request, request.param, tmp_path) as url:
        yield url


def _shares(request: pytest.FixtureRequest) -> bool:
    """Whether a test takes what others have used."""
    callspec = getattr(request.node, "callspec", None)
    engine = callspec.params.get("database_url") if callspec else None
    is_served_from_postgres = engine == "postgresql" and "served" in request.fixturenames
    is_alone = "listener" in request.fixturenames or is_served_from_postgres
    return not is_alone and request.node.get_closest_marker("own_stage") is None


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Iterator[Stage]:
    """What most tests of this process share."""
    folder = tmp_path_factory.mktemp("stage")
    with listening() as listener, running_sandbox(_redirect_uri(listener)) as sandbox:
        url = f"sqlite:///{shutil.copy(migrated_sqlite, folder / 'app.db')}"
        environ = _settings(sandbox, _redirect_uri(listener), url)
        with running_stage(folder, environ, migrated_sqlite, listener, sandbox) as stage:
            yield stage


@contextmanager
def _fresh_database(request: pytest.FixtureRequest, engine: str, folder: Path) -> Iterator[str]:
    if engine == "sqlite":
        path = shutil.copy(request.getfixturevalue("migrated_sqlite"), folder / "app.db")
        yield f"sqlite:///{path}"
        return

    template: str = request.getfixturevalue("migrated_postgres")
    server: Postgres = request.getfixturevalue("postgres")
    name = f"test_{secrets.token_hex(6)}"
    yield server.create(name, template)
    server.drop(name)


def _migrate(url: str) -> None:
    app = create_app(new_secrets() | _nowhere() | {"DATABASE_URL": url})
    with app.app_context():
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
        db.engine.dispose()


@pytest.fixture
def migrate() -> Callable[[str], None]:
    """Migrates the database at a URL."""
    return _migrate


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A bare clone: no .env of this machine shows through in it."""
    return Clone(tmp_path / "clone")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """The socket at which the app is, or would be, served."""
    with listening() as listener:
        yield listener


@pytest.fixture
def redirect_uri(request: pytest.FixtureRequest) -> str:
    """The app's callback."""
    if _shares(request):
        stage: Stage = request.getfixturevalue("stage")
        return _redirect_uri(stage.listener)

    return _redirect_uri(request.getfixturevalue("listener"))


def _redirect_uri(listener: socket.socket) -> str:
    return f"http://localhost:{listener.getsockname()[1]}/katana/callback"


@pytest.fixture
def sandbox(request: pytest.FixtureRequest, redirect_uri: str) -> Iterator[Sandbox]:
    """Katana."""
    if _shares(request):
        stage: Stage = request.getfixturevalue("stage")
        if redirect_uri == stage.environ["KATANA_REDIRECT_URI"]:
            yield stage.fresh_sandbox()
            stage.sandbox.let_go()
            return

    with running_sandbox(redirect_uri) as sandbox:
        yield sandbox


@pytest.fixture
def environ(
    request: pytest.FixtureRequest, sandbox: Sandbox, redirect_uri: str, database_url: str
) -> dict[str, str]:
    """All the settings, so that no .env of this machine shows through."""
    if _shares(request):
        stage: Stage = request.getfixturevalue("stage")
        if sandbox is stage.sandbox and database_url == stage.environ["DATABASE_URL"]:
            return dict(stage.environ)

    return _settings(sandbox, redirect_uri, database_url)


def _settings(sandbox: Sandbox, redirect_uri: str, database_url: str) -> dict[str, str]:
    return {
        **new_secrets(),
        **sandbox.settings(),
        "KATANA_REDIRECT_URI": redirect_uri,
        "KATANA_AUDIENCE": "https://api.katanamrp.com",
        "KATANA_PKCE": "on",
        "KATANA_ROTATION_OVERLAP_SECONDS": "0",
        "DATABASE_URL": database_url,
        "TRUSTED_HOSTS": "localhost",
        "PROXY_HOPS": "0",
        "LOG_LEVEL": "INFO",
    }


def new_secrets() -> dict[str, str]:
    """The settings that are secret, each a fresh one."""
    key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return {"SECRET_KEY": secrets.token_hex(32), "TOKEN_ENCRYPTION_KEYS": f"test:{key}"}


def _nowhere() -> dict[str, str]:
    return {
        "KATANA_CLIENT_ID": "nobody",
        "KATANA_CLIENT_SECRET": secrets.token_hex(32),
        "KATANA_REDIRECT_URI": "http://localhost/katana/callback",
    }


@pytest.fixture
def new_app(environ: dict[str, str]) -> Iterator[MakeApp]:
    """Makes apps in this process, each with some settings of its own."""
    apps: list[Flask] = []

    def make(clock: Clock | None = None, **changed: str) -> Flask:
        apps.append(create_app(environ | changed, clock))
        return apps[-1]

    yield make
    for app in apps:
        with app.app_context():
            db.engine.dispose()


@pytest.fixture
def app(
    request: pytest.FixtureRequest, environ: dict[str, str], new_app: MakeApp, clock: Clock
) -> Flask:
    """The app in this process; on the test's clock where time is held."""
    held = request.node.get_closest_marker("held_time") is not None
    if _shares(request):
        stage: Stage = request.getfixturevalue("stage")
        if environ == stage.environ:
            return stage.app(held=held)

    return new_app(clock if held else None)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser without cookies yet, in this process."""
    return app.test_client()


@pytest.fixture
def _push_request_context() -> None:
    """Switch off pytest-flask's request context around each test.

    It would be shared by all requests of the test: one database session and one signed-in user for
    all of them, which is not how the app runs.
    """


@pytest.fixture
def new_maker(app: Flask, sandbox: Sandbox) -> MakeMaker:
    """Makes makers, each with a browser of their own, in this process."""
    return lambda name="ada": Maker(ClientBrowser(app.test_client()), sandbox, name)


@pytest.fixture
def maker(new_maker: MakeMaker) -> Maker:
    """One maker, not signed up yet."""
    return new_maker()


@pytest.fixture
def clock(request: pytest.FixtureRequest) -> Clock:
    """The system's; with the mark `held_time` one that stands still until the test moves it."""
    if request.node.get_closest_marker("held_time") is None:
        return SystemClock()

    stage: Stage = request.getfixturevalue("stage")
    stage.clock.start_again()
    return stage.clock


@pytest.fixture
def new_connected(
    app: Flask, sandbox: Sandbox, environ: dict[str, str], clock: Clock
) -> MakeConnected:
    """Makes connected users, who have no browser."""
    return lambda name="ada", factory=None: Connected(app, sandbox, environ, name, clock, factory)


@pytest.fixture
def connected(new_connected: MakeConnected) -> Connected:
    """One connected user."""
    return new_connected()


@pytest.fixture
def no_collection() -> Iterator[None]:
    """No garbage is collected meanwhile, for a test that fills Python's stack by deep nesting.

    A finalizer of what other tests left fails there, and pytest takes it for this test's failure.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.fixture
def served(
    request: pytest.FixtureRequest, environ: dict[str, str], tmp_path: Path
) -> Iterator[Served]:
    """The app under gunicorn, with two worker processes."""
    if _shares(request):
        stage: Stage = request.getfixturevalue("stage")
        assert environ == stage.environ, "a test with other settings needs the mark own_stage"
        yield stage.served()
        return

    listener: socket.socket = request.getfixturevalue("listener")
    with gunicorn(environ, listener, tmp_path / "gunicorn.log") as served:
        yield served


@pytest.fixture
def new_served_maker(served: Served, sandbox: Sandbox) -> Iterator[MakeMaker]:
    """Makes makers who reach the served app over the network."""
    browsers: list[WireBrowser] = []

    def make(name: str = "ada") -> Maker:
        browsers.append(WireBrowser(served.url))
        return Maker(browsers[-1], sandbox, name)

    yield make
    for browser in browsers:
        browser.close()


@pytest.fixture
def served_maker(new_served_maker: MakeMaker) -> Maker:
    """One maker over the network, not signed up yet."""
    return new_served_maker()


@pytest.fixture(scope="module")
def rig_settings() -> dict[str, str]:
    """What is set otherwise for the rig; a module says so by a fixture of its own."""
    return {}


@pytest.fixture(scope="session")
def sqlite_rig(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path
) -> Iterator[Rig]:
    """The rig on SQLite, for all modules that set nothing otherwise."""
    with _new_rig(request, "sqlite", tmp_path_factory.mktemp("rig"), {}) as rig:
        yield rig


@pytest.fixture(scope="session")
def postgresql_rig(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, migrated_postgres: str
) -> Iterator[Rig]:
    """The rig on PostgreSQL, for all modules that set nothing otherwise."""
    with _new_rig(request, "postgresql", tmp_path_factory.mktemp("rig"), {}) as rig:
        yield rig


@contextmanager
def _new_rig(
    request: pytest.FixtureRequest, engine: str, folder: Path, changed: dict[str, str]
) -> Iterator[Rig]:
    with ExitStack() as stack:
        database_url = stack.enter_context(_fresh_database(request, engine, folder))
        listener = stack.enter_context(listening())
        redirect_uri = _redirect_uri(listener)
        sandbox = stack.enter_context(running_sandbox(redirect_uri))
        environ = _settings(sandbox, redirect_uri, database_url)
        environ |= {"LOG_LEVEL": "DEBUG"} | changed
        yield stack.enter_context(running_rig(environ, listener, sandbox, folder))


@pytest.fixture(scope="module")
def shared_rig(
    request: pytest.FixtureRequest,
    rig_settings: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Rig]:
    """The served app and its sandbox, for all tests of a module, and swept after them."""
    if not rig_settings:
        rig: Rig = request.getfixturevalue(f"{request.param}_rig")
        yield rig
        rig.sweep()
        return

    folder = tmp_path_factory.mktemp("rig")
    with _new_rig(request, request.param, folder, rig_settings) as rig:
        yield rig
        rig.sweep()


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    """The rig as if it were new."""
    shared_rig.start_again()
    return shared_rig


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium for the whole run."""
    executable = find_chromium()
    if executable is None:
        cannot_run("no Chromium or Chrome is installed")
    with running_chromium(executable) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """A window of its own, in front of the served app."""
    context = browser.new_context(base_url=served.url)
    yield context.new_page()
    context.close()
