"""One question in a process of its own, which `make bench` starts: `python -m benchmarks.question`.

So what one question has loaded, cached or left behind does no other any good or harm.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.databases import Databases
from benchmarks.results import Answer

QUESTIONS = (
    "token_in_hand",
    "storm",
    "running_at_expiry",
    "keep_alive",
    "pages",
    "slow_katana",
    "in_step",
    "sync_speed",
    "million",
    "first_run",
)
ANSWER = "answer.json"


@dataclass(frozen=True)
class Task:
    """Where to create databases, and whether to run the quick version."""

    databases: Databases
    folder: Path
    quick: bool

    def size(self, full: Any, quick: Any) -> Any:
        """`full` or `quick`, as requested."""
        return quick if self.quick else full


Measure = Callable[[Task], Answer]


def main() -> None:
    """Measure, and write the result to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=QUESTIONS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--postgres", required=True, help="URL of a server")
    parser.add_argument("--folder", type=Path, required=True, help="for all that is written")
    given = parser.parse_args()
    measure: Measure = import_module(f"benchmarks.{given.name}").measure
    task = Task(Databases(given.folder, given.postgres), given.folder, given.quick)
    measure(task).save(given.folder / ANSWER)


if __name__ == "__main__":
    main()
