"""Alternating rounds (A B A B), after a warm-up; medians with their spread; equal work.

The load on the machine changes over time. Each round lets every contender work for a moment, so a
slow moment is slow for all of them.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Name = TypeVar("Name")


@dataclass(frozen=True)
class Measured:
    """The values of one contender, one for each round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The first and the third quartile."""
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
    """The seconds that each contender takes for a call, one value for each round.

    A call gets a number and must return the expected value for it. Another value means that the
    work was not the same, and nothing is measured.
    """
    found: dict[Name, list[float]] = {name: [] for name in contenders}
    for name, call in contenders.items():
        for _ in range(2):  # warms up caches, prepared statements, pooled connections
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
    """The value that `share` of all values, from 0 to 1, do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _work(name: object, call: Callable[[int], str], expected: Mapping[int, str]) -> float:
    began = time.perf_counter()
    returned = [call(number) for number in expected]
    took = time.perf_counter() - began
    if returned != list(expected.values()):
        raise AssertionError(f"{name} does not return what is stored")

    return took
