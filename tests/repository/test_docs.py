"""docs/tour.md and CONTRIBUTING.md say what is there."""

import ast
import re
import subprocess
import sys

import pytest

from app.settings.config import ROOT

TOUR = (ROOT / "docs" / "tour.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
STOPS = re.findall(r"(?m)^## \d\. `([\w.]+)` in `([\w/]+\.py)`$", TOUR)
COMMANDS = re.findall(r"(?m)^\$ (.+)$", CONTRIBUTING)


def names(file: str) -> set[str]:
    """The functions of a file, and the methods with their class."""
    found = set()
    for node in ast.parse((ROOT / file).read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{n.name}" for n in node.body if isinstance(n, ast.FunctionDef)}
    return found


def test_the_tour_has_eight_stops() -> None:
    """It is read in twenty minutes."""
    assert len(STOPS) == 8
    assert len(TOUR.split()) < 1000


@pytest.mark.parametrize(("function", "file"), STOPS)
def test_each_stop_of_the_tour_is_there(function: str, file: str) -> None:
    """A function that is renamed or moved takes the tour along."""
    assert function in names(file), f"docs/tour.md stops at {function}, which {file} has not."


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_each_make_command_is_a_target(command: str) -> None:
    """What CONTRIBUTING.md tells to type, make knows."""
    ended = subprocess.run(
        ("make", "--dry-run", *command.split()[1:]), cwd=ROOT, capture_output=True, text=True
    )

    assert ended.returncode == 0, ended.stderr


@pytest.mark.short_form(1)
@pytest.mark.parametrize("command", [c for c in COMMANDS if "pytest" in c])
def test_each_pytest_command_runs_some_tests(command: str) -> None:
    """The files are there, the options are known, and something is left to run."""
    python, arguments = command.split(" ", 1)
    assert python == ".venv/bin/python"
    run = f"{sys.executable} {arguments} -p no:cacheprovider --collect-only --quiet"

    ended = subprocess.run(run, shell=True, cwd=ROOT, capture_output=True, text=True)

    assert ended.returncode == 0, ended.stdout + ended.stderr
