"""Removes one guard in a copy of the repository, and checks that its tests fail."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from app.settings.config import ROOT
from tests.support.clones import LEFT_OUT
from tests.support.patterns import Place, find, replaced


@dataclass(frozen=True)
class Change:
    """Replace `old` by `new` in `where`: a file or a folder, with `::function` if needed.

    Python code is found by its syntax tree (`patterns.py`), any other text as it is written.
    """

    where: str
    old: str
    new: str

    @property
    def path(self) -> str:
        """The file or folder."""
        return self.where.partition("::")[0]


@dataclass(frozen=True)
class Mutant:
    """Replace `old` by `new` in `where`. Each of `tests` must then fail; of a file, one test.

    If a second guard protects the same, `also` removes it. If `by_sweep` is set, the tests pass,
    and the sweep for secrets after them must fail.
    """

    guard: str
    where: str
    old: str
    new: str
    tests: str | tuple[str, ...]
    also: tuple[Change, ...] = ()
    by_sweep: bool = False

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes."""
        return (Change(self.where, self.old, self.new), *self.also)

    @property
    def named(self) -> tuple[str, ...]:
        """All tests, as a tuple."""
        return (self.tests,) if isinstance(self.tests, str) else self.tests


def place_test(mutants: Sequence[Mutant]) -> Callable[[Mutant], None]:
    """A test that each guard is in the code exactly once, so that the list stays correct."""

    @pytest.mark.parametrize("mutant", mutants, ids=lambda mutant: mutant.guard)
    def check(mutant: Mutant) -> None:
        assert_in_place(mutant)

    return check


def notice_test(mutants: Sequence[Mutant]) -> Callable[[Mutant, Path], None]:
    """A slow test that the tests of each guard fail without it."""

    @pytest.mark.slow
    @pytest.mark.parametrize("mutant", mutants, ids=lambda mutant: mutant.guard)
    def check(mutant: Mutant, tmp_path: Path) -> None:
        assert_noticed(mutant, tmp_path / "tree")

    return check


def assert_in_place(mutant: Mutant) -> None:
    """Fail if the guard is not in the code, or more than once."""
    for change in mutant.changes:
        found = _found(ROOT, change)
        unknown = found.unknown(change.new) if isinstance(found, Place) else set()
        elsewhere = " ".join(other.new for other in mutant.changes if other != change)
        unknown = {name for name in unknown if name not in elsewhere}
        assert not unknown, f"nothing in {change.where} is called {', '.join(unknown)} any more"


def _found(root: Path, change: Change) -> Place | Path:
    """The place of the change: in Python code, or a file of other text."""
    file = root / change.path
    if file.is_dir() or file.suffix == ".py":
        return find(root, change.where, change.old, change.new)
    times = file.read_text().count(change.old)
    assert times == 1, f"{change.where} has this {times} times, not once:\n{change.old}"
    return file


def _make(root: Path, change: Change) -> None:
    found = _found(root, change)
    if isinstance(found, Place):
        found.file.write_text(replaced(found, change.new))
    else:
        found.write_text(found.read_text().replace(change.old, change.new))


def assert_noticed(mutant: Mutant, tree: Path) -> None:
    """Fail if a test passes in a copy, made at `tree`, without the guard.

    An error before the test does not count as a failure. Of a test with parameters, one failing
    case is enough.
    """
    shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
    assert_in_place(mutant)
    for change in mutant.changes:
        _make(tree, change)
    report = tree / "report.xml"
    options = ["-q", "-p", "no:cacheprovider", "-m", "slow or not slow", f"--junit-xml={report}"]
    options += ["-x"] if len(mutant.named) == 1 else []

    run = subprocess.run(
        (sys.executable, "-m", "pytest", *options, *mutant.named),
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )

    failed = _swept(report) if mutant.by_sweep else _failed(report)
    silent = [test for test in mutant.named if not _is_among(failed, test)]
    assert not silent, f"{', '.join(silent)} did not notice:\n{run.stdout[-2000:]}"


def _failed(report: Path) -> set[str]:
    """The tests that ran and failed."""
    return {_name(case) for case in _cases(report) if case.find("failure") is not None}


def _swept(report: Path) -> set[str]:
    """The tests that passed, and after which the sweep failed."""
    return {
        _name(case)
        for case in _cases(report)
        if case.find("failure") is None
        for error in case.findall("error")
        if error.get("message", "").startswith("failed on teardown")
    }


def _cases(report: Path) -> list[ElementTree.Element]:
    return list(ElementTree.parse(report).iter("testcase")) if report.exists() else []


def _name(case: ElementTree.Element) -> str:
    """The dotted name of a test, without its parameters."""
    return f"{case.get('classname')}.{case.get('name', '').partition('[')[0]}"


def _is_among(failed: set[str], test: str) -> bool:
    """Whether the test, or one of the file, is among them."""
    dotted = test.replace(".py", "").replace("/", ".").replace("::", ".")
    return any(name == dotted or name.startswith(f"{dotted}.") for name in failed)
