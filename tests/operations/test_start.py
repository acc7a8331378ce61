"""`make run` and `make .env`: the launcher, as a user meets it in a bare clone."""

import base64
import os
import re
import secrets
import shutil
import signal
import smtplib
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from dotenv import dotenv_values

from app.settings import config
from tests.support.clones import SECONDS, Clone
from tests.support.servers import listening, reserved_port

REAL_KATANA = {"KATANA_CLIENT_ID": "workshop", "KATANA_CLIENT_SECRET": "0123456789abcdefghijklmnop"}


@pytest.fixture
def free_clone(clone: Clone) -> Iterator[Clone]:
    """A clone whose ports are free on this machine, and stay so for it."""
    with reserved_port() as app, reserved_port() as sandbox, reserved_port() as mail:
        _set_up(clone, app, sandbox, mail)
        yield clone


def _set_up(clone: Clone, app: int, sandbox: int, mail: int) -> None:
    shutil.copy(clone.path / ".env.example", clone.env)
    clone.set("SECRET_KEY", secrets.token_hex(32))
    clone.set("TOKEN_ENCRYPTION_KEYS", f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}")
    clone.set("KATANA_REDIRECT_URI", f"http://localhost:{app}/katana/callback")
    origin = f"http://127.0.0.1:{sandbox}"
    clone.sandbox_env.parent.mkdir()
    clone.sandbox_env.write_text(
        f"KATANA_CLIENT_ID=client-1\nKATANA_CLIENT_SECRET={'0123456789abcdef' * 4}\n"
        f"KATANA_AUTHORIZE_URL={origin}/authorize\n"
        f"KATANA_ACCESS_TOKEN_URL={origin}/oauth/token\n"
        f"KATANA_REVOKE_URL={origin}/oauth/revoke\n"
        f"KATANA_API_BASE_URL={origin}/v1\n"
        f"SMTP_URL=smtp://127.0.0.1:{mail}\nMAIL_FROM=app@localhost\n"
    )


def origin(url: str | None) -> str:
    """Scheme, host and port of `url`."""
    return "/".join((url or "").split("/")[:3])


def test_env_is_written_once_and_for_its_owner_alone(clone: Clone) -> None:
    """The first start writes .env with secrets in it, which later starts leave alone."""
    clone.start("--env-only")
    first = clone.env.read_text()
    clone.start("--env-only")

    assert clone.env.read_text() == first
    assert stat.S_IMODE(clone.env.stat().st_mode) == 0o600


@pytest.mark.slow
def test_a_full_disk_leaves_no_part_of_env(clone: Clone) -> None:
    """One sentence names the file; the next start, with room on the disk, writes it."""
    fills_up = ("prlimit", "--fsize=100", sys.executable, "-m", "app.operations.start")

    start = subprocess.run(
        (*fills_up, "--env-only"), cwd=clone.path, capture_output=True, text=True, check=False
    )

    assert start.returncode == 1
    assert start.stderr == f"{clone.env}: File too large.\n"
    assert not list(clone.path.glob(".env*new*"))
    assert not clone.env.exists()
    clone.start("--env-only")
    assert dotenv_values(clone.env)["SECRET_KEY"]


@pytest.mark.slow
def test_every_clone_has_secrets_of_its_own(tmp_path: Path) -> None:
    """No two secrets are alike, within a clone or between two."""
    clones = [Clone(tmp_path / name) for name in ("one", "two")]
    for clone in clones:
        clone.start("--env-only")

    written = [dotenv_values(clone.env) for clone in clones]

    values = [env[name] for env in written for name in ("SECRET_KEY", "TOKEN_ENCRYPTION_KEYS")]
    assert all(values)
    assert len(set(values)) == 4


@pytest.mark.slow
@pytest.mark.sandbox
def test_the_sandbox_gets_credentials_once(clone: Clone) -> None:
    """Without a client id a start makes one for the sandbox, and keeps it."""
    with listening() as taken:
        clone.start("--env-only")
        clone.set(
            "KATANA_REDIRECT_URI", f"http://localhost:{taken.getsockname()[1]}/katana/callback"
        )
        clone.start()
        first = clone.sandbox_env.read_text()
        clone.start()

    assert clone.sandbox_env.read_text() == first
    assert stat.S_IMODE(clone.sandbox_env.stat().st_mode) == 0o600
    assert config.load({**dotenv_values(clone.env), **dotenv_values(clone.sandbox_env)})


@pytest.mark.sandbox
def test_one_command_serves_both_and_one_signal_ends_both(free_clone: Clone) -> None:
    """Both servers answer at the addresses it names, and are gone after Ctrl-C, without a fuss."""
    with free_clone.running() as run:
        app = origin(dotenv_values(free_clone.env)["KATANA_REDIRECT_URI"])
        sandbox = origin(dotenv_values(free_clone.sandbox_env)["KATANA_AUTHORIZE_URL"])
        ready = requests.get(f"{app}/readyz", timeout=SECONDS)
        ledger = requests.get(f"{sandbox}/ledger", timeout=SECONDS)
        mail = urlsplit(dotenv_values(free_clone.sandbox_env)["SMTP_URL"])
        with smtplib.SMTP("127.0.0.1", int(mail.port or 0)) as smtp:
            takes_mail = smtp.noop()[0]
        children = run.children()
        status = run.end(signal.SIGINT)

    assert f"Open {app}\n" in run.said
    assert sandbox in run.said
    assert (ready.status_code, ledger.status_code, status) == (200, 200, 0)
    assert takes_mail == 250
    assert children.keys() == {"gunicorn", "flask", "sandbox"}
    assert not any(child.is_running() for child in children.values())
    assert "Traceback" not in run.said


@pytest.mark.slow
@pytest.mark.sandbox
def test_signals_that_come_again_leave_nothing_behind(free_clone: Clone) -> None:
    """A supervisor asks a whole group of processes to end, and make asks its child once more."""
    with free_clone.running() as run:
        children = run.children()
        while run.process.poll() is None:
            run.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                run.process.wait(0.05)
        status = run.wait()

    assert status == 0
    assert "Traceback" not in run.said
    assert not any(child.is_running() for child in children.values())


@pytest.mark.slow
@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("victim", "name"),
    [("gunicorn", "The app"), ("flask", "The worker"), ("sandbox", "The sandbox")],
)
def test_both_end_together(free_clone: Clone, victim: str, name: str) -> None:
    """When one server dies, a sentence says which, and the other does not stay behind."""
    with free_clone.running() as run:
        children = run.children()
        children[victim].kill()
        status = run.wait()

    assert status == 1
    assert name in run.said.splitlines()[-1]
    assert not any(child.is_running() for child in children.values())


@pytest.mark.slow
def test_with_credentials_of_katana_there_is_no_sandbox(free_clone: Clone) -> None:
    """A client id, wherever it is set, means the real Katana."""
    with free_clone.running(**REAL_KATANA) as run:
        children = run.children()

    assert children.keys() == {"gunicorn", "flask"}
    assert "andbox" not in run.said


@pytest.mark.slow
@pytest.mark.sandbox
@pytest.mark.parametrize("whose", ["app", "sandbox"])
def test_a_taken_port_is_one_sentence(free_clone: Clone, whose: str) -> None:
    """The sentence names the port and the file in which to change it."""
    with listening() as taken:
        port = str(taken.getsockname()[1])
        if whose == "app":
            free_clone.set("KATANA_REDIRECT_URI", f"http://localhost:{port}/katana/callback")
        else:
            text = re.sub(r":\d+/", f":{port}/", free_clone.sandbox_env.read_text())
            free_clone.sandbox_env.write_text(text)
        ended = free_clone.start()

    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert port in ended.stderr
    assert (".env" if whose == "app" else "instance/sandbox.env") in ended.stderr


def test_a_broken_env_is_told_in_sentences(free_clone: Clone) -> None:
    """What is wrong is told all at once, without the values and without a traceback."""
    free_clone.set("SECRET_KEY", "hunter2")
    free_clone.set("PROXY_HOPS", "many")

    ended = free_clone.start()

    assert ended.returncode == 1
    assert "SECRET_KEY" in ended.stderr
    assert "PROXY_HOPS" in ended.stderr
    assert "hunter2" not in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_an_env_that_is_no_text_is_one_sentence(clone: Clone) -> None:
    """Bytes that are not UTF-8 do not end in a traceback."""
    clone.env.write_bytes(b"SECRET_KEY=\xff\xfe\n")

    ended = clone.start()

    assert ended.returncode == 1
    assert ended.stderr.endswith(".env must be a text file in UTF-8.\n")
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_an_absent_database_is_one_sentence(free_clone: Clone) -> None:
    """The sentence names the setting, not what is in it."""
    with reserved_port() as nobodys:
        url = f"postgresql://ada:pass-word-4711@127.0.0.1:{nobodys}/nothing"
        ended = free_clone.start(DATABASE_URL=url, **REAL_KATANA)

    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "DATABASE_URL" in ended.stderr
    assert "4711" not in ended.stderr


@pytest.mark.parametrize(
    ("missing", "said"),
    [("version_info", "Python 3.11 or newer"), ("ensurepip", "apt install python3-venv")],
)
def test_a_python_that_will_not_do_is_one_sentence(clone: Clone, missing: str, said: str) -> None:
    """A Python that is too old, or without venv, is told before anything is installed."""
    python = clone.path / "python"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *{missing}*) exit 1;; esac\nexec {sys.executable} "$@"'
    )
    python.chmod(0o755)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}

    ended = subprocess.run(
        ("make", "dev", f"PYTHON={python}"),
        cwd=clone.path,
        env=environ,
        capture_output=True,
        text=True,
    )

    assert said in ended.stderr.splitlines()[0]
    assert ended.returncode != 0
    assert not (clone.path / ".venv").exists()
