"""Writes RESULTS.md and its charts."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.charts import svg
from benchmarks.results import Aim, Answer, Table

HEAD = """\
# Measured

What `make bench` writes: this app, and what one would use in its place, side by side in one run
on one machine. Repeat it with `make bench` (up to 30 minutes) or `make bench QUICK=1` (a few
minutes, smaller numbers, into `benchmarks/quick/`); it needs Python, `make`, and the network for
the first time. Figures are medians of rounds in turn, after a warm-up; the "middle half" of the
rounds lies between the two figures that are given. The last section is written by
`make several-hosts`.
"""
#: The heading of a section that `make bench` does not change.
SEVERAL_HOSTS = "## Several hosts"


def write(folder: Path, machine: Sequence[tuple[str, str]], answers: Sequence[Answer]) -> Path:
    """Write RESULTS.md and the charts into `folder`, and return the path of RESULTS.md."""
    folder.mkdir(exist_ok=True)
    for answer in answers:
        for table in answer.tables:
            if table.chart:
                (folder / f"{table.chart.name}.svg").write_text(svg(table.chart))
    results = folder / "RESULTS.md"
    section = several_hosts(results.read_text()) if results.exists() else ""
    measured = [HEAD, *_short(answers), *_machine(machine), *_all(answers)]
    results.write_text("\n".join(measured) + section)
    return results


def several_hosts(results: str) -> str:
    """The section of RESULTS.md about several hosts; empty if it is missing."""
    _, heading, section = results.partition(f"\n{SEVERAL_HOSTS}\n")
    return heading + section


def quotes(results: str) -> list[str]:
    """The sentences in RESULTS.md that the README quotes."""
    section = results.partition("## In short\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("- ")]


def _short(answers: Sequence[Answer]) -> list[str]:
    return ["## In short", "", *(f"- {a.in_short}" for a in answers if a.in_short), ""]


def _machine(machine: Sequence[tuple[str, str]]) -> list[str]:
    return ["## On what", "", *_grid(["", ""], [list(row) for row in machine]), ""]


def _all(answers: Sequence[Answer]) -> list[str]:
    lines: list[str] = []
    for number, answer in enumerate(answers, 1):
        lines += [f"## {number}. {answer.question}", "", answer.how, ""]
        for table in answer.tables:
            lines += _table(table)
        lines += _aims(answer.aims)
        for note in answer.notes:
            lines += [note, ""]
    return lines


def _table(table: Table) -> list[str]:
    lines = [f"**{table.title}**", ""] if table.title else []
    lines += [*_grid(table.head, table.rows), ""]
    if table.chart:
        lines += [f"![{table.chart.title}]({table.chart.name}.svg)", ""]
    return lines


def _aims(aims: Sequence[Aim]) -> list[str]:
    if not aims:
        return []

    rows = [[aim.text, aim.reached, "yes" if aim.met else "**no**"] for aim in aims]
    return [*_grid(["aim", "reached", "met"], rows), ""]


def _grid(head: list[str], rows: list[list[str]]) -> list[str]:
    ruler = ["---", *["---:"] * (len(head) - 1)] if len(head) > 2 else ["---"] * len(head)
    return [_line(head), _line(ruler), *map(_line, rows)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
