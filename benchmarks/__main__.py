"""`make bench`: ask every question, each in a process of its own, and write RESULTS.md."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from app.settings.config import ROOT
from benchmarks import machine, report
from benchmarks.question import ANSWER, QUESTIONS
from benchmarks.results import Answer
from tests.support.postgres import running_postgres

FOLDER = Path(__file__).parent
SECONDS = 600  # time limit of one question
# Durable, as in production, but a million rows must not cause many checkpoints.
POSTGRES = ("max_wal_size = '4GB'",)


def main() -> None:
    """Run all questions, write RESULTS.md, and print its path."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller numbers, in a minute")
    parser.add_argument("--only", choices=QUESTIONS, action="append", help="not all questions")
    given = parser.parse_args()
    began = time.monotonic()
    with running_postgres(POSTGRES) as postgres:
        url = postgres.url("postgres")
        described = machine.described(url)
        answers = [_ask(name, url, quick=given.quick) for name in given.only or QUESTIONS]
    partial = given.quick or given.only
    written = report.write(FOLDER / "quick" if partial else FOLDER, described, answers)
    missed = [aim for answer in answers for aim in answer.aims if not aim.met]
    print(f"Wrote {written.relative_to(ROOT)} after {time.monotonic() - began:.0f} s.")
    for aim in missed:
        print(f"  Missed: {aim.text}: {aim.reached}.")
    if not partial:
        print("Quote it in README.md, where `make test` compares:")
        print("\n".join(report.quotes(written.read_text())))


def _ask(name: str, postgres_url: str, *, quick: bool) -> Answer:
    print(f"{name} ...", end=" ", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="connect-bench-") as folder:
        command = [sys.executable, "-m", "benchmarks.question", name]
        command += ["--postgres", postgres_url, "--folder", folder]
        trouble = _trouble_with([*command, "--quick"] if quick else command)
        if trouble is None:
            print(f"{time.monotonic() - began:.0f} s")
            return Answer.load(Path(folder) / ANSWER)

    # The results of the other questions are still written.
    print(f"failed:\n{trouble}")
    return Answer(name, "", [], notes=["Not measured: it failed, and `make bench` says how."])


def _trouble_with(command: list[str]) -> str | None:
    """The reason of a failure, if there is one. All processes that it started are ended."""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=SECONDS)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                return f"it took longer than {SECONDS} seconds"
            raise
    return said if process.returncode else None


if __name__ == "__main__":
    main()
