"""Do the security tests bite? Each guard is taken out of a copy, and a test must fail.

The list is the proof: what was changed, and which test notices. `make test-slow` goes through it.
"""

from pathlib import Path

import pytest

from tests.mutants import Mutant, assert_noticed

FLOW = "tests/test_security_flow.py"

MUTANTS = [
    Mutant(
        "an attempt belongs to the browser session that began it",
        "app/connections/attempts.py",
        "                ConnectAttempt.user_session_id == user_session_id,\n",
        "",
        f"{FLOW}::test_s02_another_browser_cannot_finish_what_this_one_began",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_every_guard_is_noticed_when_it_is_gone(mutant: Mutant, tmp_path: Path) -> None:
    """Without the guard, its tests fail."""
    assert_noticed(mutant, tmp_path / "tree")
