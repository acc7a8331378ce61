"""Runs flask commands: in this process, or as an operator does."""

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
    """What a command said, and its exit status."""

    status: int
    output: str
    #: Of the output, what is neither log nor amiss; known for a command in this process.
    stdout: str = ""


def run(app: Flask, *arguments: str) -> Ended:
    """The end of `flask <arguments>` for this app; what no user should see is raised."""
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
    """`flask <arguments>` in a process of its own; both its outputs are one."""
    return module(environ, "flask", *arguments, folder=folder, output=output)


@contextmanager
def worker(environ: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """`flask worker`, in a process of its own."""
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
    """`python -m <name> <arguments>`, likewise; in a session of its own it is killed as a whole."""
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
    """What it says until it ends by itself."""
    output, _ = process.communicate(timeout=END_SECONDS)
    return Ended(process.returncode, output)


def on_a_terminal(environ: Mapping[str, str], *arguments: str) -> str:
    """What `flask <arguments>` shows on a terminal."""
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
    with suppress(OSError):  # what Linux says at the end of a terminal
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    process.wait(END_SECONDS)
    return shown.decode()
