"""Rounds in turn (A B A B), after a warm-up; medians with their spread; work checked for sameness.

What the machine does beside us changes over a minute, so each round lets every contender work for
a moment: a slow moment is then slow for all of them.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Name = TypeVar("Name")


@dataclass(frozen=True)
class Measured:
    """Values of one contender, one for each round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """Between which two the middle half lies."""
        if len(self.values) < 2:
            return self.values[0], self.values[0]

        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high


def seconds_per_call(
    contenders: Mapping[Name, Callable[[int], str]],
    expected: Mapping[int, str],
    *,
    rounds: int,
) -> dict[Name, Measured]:
    """The seconds that each contender takes for a call, a value for each round.

    A call is given a number and must return what is expected for it: whoever returns anything else
    did not do the same work, and nothing is measured.
    """
    found: dict[Name, list[float]] = {name: [] for name in contenders}
    for name, call in contenders.items():
        for _ in range(2):  # caches, prepared statements, pooled connections
            _work(name, call, expected)
    for _ in range(rounds):
        for name, call in contenders.items():
            found[name].append(_work(name, call, expected) / len(expected))
    return {name: Measured(tuple(values)) for name, values in found.items()}


def in_turn(contenders: Mapping[Name, Callable[[], Any]], *, rounds: int) -> dict[Name, list[Any]]:
    """What each contender returns, round by round."""
    found: dict[Name, list[Any]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, work in contenders.items():
            found[name].append(work())
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all, from 0 to 1, do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _work(name: object, call: Callable[[int], str], expected: Mapping[int, str]) -> float:
    began = time.perf_counter()
    returned = [call(number) for number in expected]
    took = time.perf_counter() - began
    if returned != list(expected.values()):
        raise AssertionError(f"{name} does not return what is stored")

    return took
