"""`make bench`: ask every question, each in a process of its own, and write RESULTS.md."""

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from app.config import ROOT
from benchmarks import machine, report
from benchmarks.question import QUESTIONS
from benchmarks.results import Answer
from tests.postgres import running_postgres

FOLDER = Path(__file__).parent
SECONDS = 300  # that one question may take
# As it would run, safe from a power cut; but a million rows are not written twice over.
POSTGRES = ("max_wal_size = '4GB'",)


def main() -> None:
    """Ask, write, and say where."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller numbers, in a minute")
    parser.add_argument("--only", choices=QUESTIONS, action="append", help="not all questions")
    given = parser.parse_args()
    began = time.monotonic()
    # Said by what starts PostgreSQL, where no desktop session set a folder.
    warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR")
    with running_postgres(POSTGRES) as postgres, tempfile.TemporaryDirectory() as folder:
        url = postgres.url("postgres")
        described = machine.described(url)
        answers = [
            _ask(name, url, Path(folder), quick=given.quick) for name in given.only or QUESTIONS
        ]
    partial = given.quick or given.only
    written = report.write(FOLDER / "quick" if partial else FOLDER, described, answers)
    missed = [aim for answer in answers for aim in answer.aims if not aim.met]
    print(f"Wrote {written.relative_to(ROOT)} after {time.monotonic() - began:.0f} s.")
    for aim in missed:
        print(f"  Missed: {aim.text}: {aim.reached}.")
    if not partial:
        print("Quote it in README.md, where `make test` compares:")
        print("\n".join(report.quotes(written.read_text())))


def _ask(name: str, postgres_url: str, folder: Path, *, quick: bool) -> Answer:
    print(f"{name} ...", end=" ", flush=True)
    began = time.monotonic()
    path = folder / f"{name}.json"
    command = [sys.executable, "-m", "benchmarks.question", name]
    command += ["--postgres", postgres_url, "--answer", str(path)]
    asked = subprocess.run(
        [*command, "--quick"] if quick else command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    if asked.returncode != 0:
        # The others' answers are worth having.
        print(f"failed:\n{asked.stdout}")
        return Answer(name, "", [], notes=["Not measured: it failed, see what `make bench` says."])

    print(f"{time.monotonic() - began:.0f} s")
    return Answer.load(path)


if __name__ == "__main__":
    main()
