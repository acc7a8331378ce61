"""Weakens one guard in a copy of the repository, and sees whether its tests notice."""

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


@dataclass(frozen=True)
class Change:
    """`old` becomes `new` in `file`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """`old` becomes `new` in `file`; each of `tests` must fail, or one test of a whole file.

    Where something is guarded twice, the second guard is taken out by `also`. Where `by_sweep` is
    set, the tests pass, and it is the sweep after them that must fail.
    """

    guard: str
    file: str
    old: str
    new: str
    tests: str | tuple[str, ...]
    also: tuple[Change, ...] = ()
    by_sweep: bool = False

    @property
    def changes(self) -> tuple[Change, ...]:
        """All that is changed."""
        return (Change(self.file, self.old, self.new), *self.also)

    @property
    def named(self) -> tuple[str, ...]:
        """The tests, however many."""
        return (self.tests,) if isinstance(self.tests, str) else self.tests


def place_test(mutants: Sequence[Mutant]) -> Callable[[Mutant], None]:
    """A test that each guard stands in the code exactly once, so that the list stays true."""

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
    """Fail where the guard does not stand in its file, or more than once."""
    found = [(ROOT / change.file).read_text().count(change.old) for change in mutant.changes]
    assert set(found) == {1}, "the guard is not where the list says: bring it up to date"


def assert_noticed(mutant: Mutant, tree: Path) -> None:
    """Fail where a test passes in a copy, made at `tree`, that lacks the guard.

    A test that could not begin has noticed nothing; one with parameters notices by any of them.
    """
    shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
    assert_in_place(mutant)
    for change in mutant.changes:
        file = tree / change.file
        file.write_text(file.read_text().replace(change.old, change.new))
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
    """The tests that passed, and after which a sweep failed."""
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
