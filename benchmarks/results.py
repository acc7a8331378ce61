"""The result of a question as data: tables, charts, and whether the aims are met."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Bar:
    """One bar of a chart; if `ours`, it has the colour of this app."""

    label: str
    value: float
    ours: bool = False


@dataclass(frozen=True)
class Chart:
    """A bar chart, written to `name`.svg."""

    name: str
    title: str
    unit: str
    bars: list[Bar]


@dataclass(frozen=True)
class Table:
    """Rows of text with headings, and the chart with the same data."""

    head: list[str]
    rows: list[list[str]]
    chart: Chart | None = None
    title: str = ""


@dataclass(frozen=True)
class Aim:
    """A goal, and what was reached."""

    text: str
    reached: str
    met: bool


@dataclass(frozen=True)
class Answer:
    """The result of one question. `in_short` is one sentence with its figures, for the README."""

    question: str
    how: str
    tables: list[Table]
    aims: list[Aim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    in_short: str = ""

    def save(self, path: Path) -> None:
        """Write it to a file."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> "Answer":
        """Read it from a file."""
        told: dict[str, Any] = json.loads(path.read_text())
        tables = [Table(**table | {"chart": _chart(table["chart"])}) for table in told["tables"]]
        aims = [Aim(**aim) for aim in told["aims"]]
        return cls(**told | {"tables": tables, "aims": aims})


def _chart(told: dict[str, Any] | None) -> Chart | None:
    return Chart(**told | {"bars": [Bar(**bar) for bar in told["bars"]]}) if told else None
