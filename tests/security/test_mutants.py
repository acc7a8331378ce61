"""Do the security tests bite? Each guard is taken out of a copy, and its tests must fail.

The list in `guards/` is the proof: what was changed, and which tests notice. `make test-slow` goes
through it; in every run it is seen that no test of this folder is left out.
"""

import ast
from pathlib import Path

import pytest

from app.settings.config import ROOT
from tests.security.guards import GUARDS
from tests.support.mutants import Mutant, assert_noticed, notice_test, place_test

HERE = f"tests/security/{Path(__file__).name}"
#: What a fork replaces, and brings guards of its own for.
REPLACED = {
    *("app/pages/dashboard.py", "templates/dashboard.html"),
    *("app/accounts/views.py", "app/accounts/forms.py", "app/accounts/passwords.py"),
    *("templates/sign_in.html", "templates/sign_up.html"),
}
KEPT = [mutant for mutant in GUARDS if mutant.changes[0].path not in REPLACED]


def names_in(path: Path) -> set[str]:
    """The tests in a file, as pytest names them."""
    file = path.relative_to(ROOT).as_posix()
    return {
        f"{file}::{node.name}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_security_test_is_seen_to_fail() -> None:
    """Each is named beside a guard that it notices the loss of."""
    files = (ROOT / "tests" / "security").glob("test_*.py")
    there = {test for file in files for test in names_in(file) if not test.startswith(HERE)}
    proven = {test for mutant in GUARDS for test in mutant.named}
    unproven = sorted(there - proven)

    assert not unproven, f"give these a guard in tests/security/guards: {', '.join(unproven)}"


def test_every_guard_names_tests_that_are_there() -> None:
    """Nobody renames a test and leaves its guard to a name that is none."""
    named = {test for mutant in GUARDS for test in mutant.named}
    files = {ROOT / test.partition("::")[0] for test in named}
    there = {test for file in files if file.exists() for test in names_in(file)}
    gone = {test for test in named - there if (ROOT / test.partition("::")[0]).exists()}

    assert not gone, f"no such tests: {', '.join(sorted(gone))}"


def test_every_guard_has_a_name_of_its_own() -> None:
    """So that one can be asked for by it."""
    names = [mutant.guard for mutant in GUARDS]

    assert len(names) == len(set(names))


test_every_guard_is_where_the_list_says = place_test(KEPT)
test_every_guard_is_noticed_when_it_is_gone = notice_test(GUARDS)


@pytest.mark.slow
@pytest.mark.parametrize("new", ["pass", "raise OSError"])
def test_what_loses_no_guard_is_noticed_by_nobody(new: str, tmp_path: Path) -> None:
    """A test that passes has noticed nothing, nor has one that could not begin."""
    name = "test_s42_without_a_database_the_keys_are_not_judged"
    test = f"tests/security/test_secrets.py::{name}"
    begun = "apps: list[Flask] = []"
    mutant = Mutant("none", "tests/conftest.py", begun, f"{begun}\n{new}", test)

    with pytest.raises(AssertionError, match="did not notice"):
        assert_noticed(mutant, tmp_path / "tree")
