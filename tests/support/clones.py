"""A copy of the repository as after `git clone`, and its launcher."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from app.settings import config

PARTS = ("app", "sandbox", "migrations", "templates")
FILES = (".env.example", "Makefile", "gunicorn.conf.py", "wsgi.py")
LOCKS = ("requirements.txt", "requirements-dev.txt")
#: Local files that are not part of the repository.
LEFT_OUT = shutil.ignore_patterns(
    *(".git", ".venv*", ".env", "instance", "__pycache__", ".*_cache", ".hypothesis")
)
SECONDS = 60  # time limit of a start, so that a test fails if it hangs


class Clone:
    """A copy of the repository without .env, instance/ and virtual environment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in (name for name in PARTS if (config.ROOT / name).is_dir()):
            shutil.copytree(config.ROOT / name, path / name)
        for name in FILES + LOCKS:
            shutil.copy(config.ROOT / name, path / name)

    @property
    def env(self) -> Path:
        return self.path / ".env"

    @property
    def sandbox_env(self) -> Path:
        return self.path / "instance" / "sandbox.env"

    def set(self, name: str, value: str) -> None:
        """Change one setting in .env."""
        text = re.sub(rf"(?m)^{name}=.*$", f"{name}={value}", self.env.read_text())
        self.env.write_text(text)

    def start(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the launcher until it ends by itself."""
        return subprocess.run(
            self._command(arguments),
            cwd=self.path,
            env=self._environ(environ),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    @contextmanager
    def running(self, **environ: str) -> Iterator["Run"]:
        """Run the launcher until it is stopped."""
        process = subprocess.Popen(
            self._command(()),
            cwd=self.path,
            env=self._environ(environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout
        watchdog = threading.Timer(SECONDS, process.kill)
        watchdog.start()
        try:
            yield Run(process)
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()
            watchdog.cancel()

    def _command(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        return (sys.executable, "-m", "app.operations.start", *arguments)

    def _environ(self, more: dict[str, str]) -> dict[str, str]:
        ours = {n: v for n, v in os.environ.items() if n not in config.SETTINGS}
        return {**ours, "PYTHONUNBUFFERED": "1", **more}


class Run:
    """A launcher that has printed the address of the app."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        self.process = process
        self.said = ""
        for line in process.stdout:
            self.said += line
            if "Ctrl-C" in line:
                return
        pytest.fail(f"it did not start:\n{self.said}")

    def children(self) -> dict[str, psutil.Process]:
        """The servers that it has started, by their module."""
        children = psutil.Process(self.process.pid).children()
        return {child.cmdline()[2]: child for child in children}

    def end(self, number: signal.Signals) -> int:
        """Send a signal, wait for the end, and return the exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end, and return the exit status."""
        assert self.process.stdout
        self.said += self.process.stdout.read()
        return self.process.wait()
