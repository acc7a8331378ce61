"""Weakens one guard in a copy of the repository, and sees whether its tests notice."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from app.config import ROOT


@dataclass(frozen=True)
class Mutant:
    """`old` becomes `new` in `file`; one of `tests` must fail."""

    guard: str
    file: str
    old: str
    new: str
    tests: str


def assert_in_place(mutant: Mutant) -> None:
    """Fail where the guard does not stand in its file, or more than once."""
    found = (ROOT / mutant.file).read_text().count(mutant.old)
    assert found == 1, "the guard is not where the list says: bring it up to date"


def assert_noticed(mutant: Mutant, tree: Path) -> None:
    """Fail where the tests pass in a copy, made at `tree`, that lacks the guard."""
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "__pycache__", "instance"))
    file = tree / mutant.file
    assert_in_place(mutant)
    file.write_text(file.read_text().replace(mutant.old, mutant.new))

    run = subprocess.run(
        (sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutant.tests),
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 1, f"nobody noticed:\n{run.stdout[-2000:]}"
