"""Runs flask commands: in this process, or in a separate one."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from flask import Flask

from app.settings.config import ROOT

END_SECONDS = 60


@dataclass(frozen=True)
class Ended:
    """The output of a command, and its exit status."""

    status: int
    output: str
    #: Standard output only, without log and errors; known for a command in this process.
    stdout: str = ""


def run(app: Flask, *arguments: str) -> Ended:
    """The result of `flask <arguments>` for this app; an unexpected error is raised."""
    result = app.test_cli_runner().invoke(args=arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception

    return Ended(result.exit_code, result.output, result.stdout)


def flask(
    environ: Mapping[str, str],
    *arguments: str,
    folder: Path = ROOT,
    output: IO[str] | int = subprocess.PIPE,
) -> "subprocess.Popen[str]":
    """`flask <arguments>` in a separate process; standard error goes to its standard output."""
    return module(environ, "flask", *arguments, folder=folder, output=output)


@contextmanager
def worker(environ: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """`flask worker` in a separate process."""
    process = flask(environ, "worker")
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        process.communicate(timeout=60)


def module(
    environ: Mapping[str, str],
    name: str,
    *arguments: str,
    folder: Path = ROOT,
    own_session: bool = False,
    output: IO[str] | int = subprocess.PIPE,
) -> "subprocess.Popen[str]":
    """`python -m <name> <arguments>` likewise. In its own session, it can be killed as a group."""
    return subprocess.Popen(
        (sys.executable, "-m", name, *arguments),
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1", **environ},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=own_session,
    )


def ended(process: "subprocess.Popen[str]") -> Ended:
    """Wait until it ends by itself, and return its output."""
    output, _ = process.communicate(timeout=END_SECONDS)
    return Ended(process.returncode, output)


def on_a_terminal(environ: Mapping[str, str], *arguments: str) -> str:
    """The output of `flask <arguments>` on a terminal."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        (sys.executable, "-m", "flask", *arguments),
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "TERM": "xterm", **environ},
        stdout=its,
        stderr=its,
    )
    os.close(its)
    shown = bytearray()
    with suppress(OSError):  # Linux raises it at the end of a terminal
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    process.wait(END_SECONDS)
    return shown.decode()
