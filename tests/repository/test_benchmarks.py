"""What is measured is measured rightly, and README.md quotes it as it was measured."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
import requests

from app.settings.config import ROOT
from benchmarks import databases, report, several_hosts
from benchmarks.charts import svg
from benchmarks.databases import Databases
from benchmarks.measuring import Measured, seconds_per_call
from benchmarks.peers import Pair
from benchmarks.peers.this_app import ThisApp
from benchmarks.results import Aim, Answer, Bar, Chart, Table
from benchmarks.token_endpoint import login, pair
from tests.support.postgres import Postgres
from tests.support.sandbox import TIMEOUT

RESULTS = ROOT / "benchmarks" / "RESULTS.md"
ANSWER = Answer(
    question="How high?",
    how="With a ladder.",
    tables=[
        Table(
            head=["", "metres"],
            rows=[["this app", "2"], ["other", "3"]],
            chart=Chart(
                "height", "Height <of all>", "m", [Bar("this app", 2, True), Bar("other", 3)]
            ),
        )
    ],
    aims=[Aim("At most 2", "2 m", True)],
    in_short="It is **2 m** high.",
)


def test_the_readme_quotes_what_was_measured() -> None:
    """README.md says in short what RESULTS.md says in short, to the letter."""
    section = (ROOT / "README.md").read_text().partition("\n## Measured\n")[2].partition("\n## ")[0]
    measured = report.quotes(RESULTS.read_text()) if RESULTS.exists() else []

    quoted = [line for line in section.splitlines() if line.startswith("- ")]

    assert quoted == measured, "Copy `## In short` of benchmarks/RESULTS.md into README.md."


def test_an_answer_becomes_a_page_with_charts(tmp_path: Path) -> None:
    """What is quoted is on the page, and each chart is an image that stands on its own."""
    ANSWER.save(tmp_path / "answer.json")

    page = report.write(tmp_path, [("Python", "3")], [Answer.load(tmp_path / "answer.json")])

    assert report.quotes(page.read_text()) == ["- It is **2 m** high."]
    assert "| this app | 2 |" in page.read_text()
    for chart in re.findall(r"\((\S+\.svg)\)", page.read_text()):
        ElementTree.parse(tmp_path / chart)


def test_the_section_of_several_hosts_stays_and_is_replaced_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make bench` keeps it, and `make several-hosts` keeps the rest."""
    monkeypatch.setattr(several_hosts, "RESULTS", report.write(tmp_path, [], [ANSWER]))

    for right in (7, 8):
        output = f"grants ended: 1; answers held back: 1\n.\n| none | {right} |\n"
        several_hosts.write(output, datetime(2026, 1, 1, tzinfo=UTC))
        report.write(tmp_path, [], [ANSWER])

    page = several_hosts.RESULTS.read_text()
    assert page.count(report.SEVERAL_HOSTS) == page.count("| this app | 2 |") == 1
    assert page.endswith("\n\n| none | 8 |\n")


def test_a_chart_needs_no_background_of_its_own() -> None:
    """Every text and bar has a colour with a contrast of 3 to 1 to white and to GitHub's dark."""
    chart = ANSWER.tables[0].chart
    assert chart

    colours = set(re.findall(r"#[0-9a-f]{6}", svg(chart)))

    assert colours
    for colour in colours:
        for background in ("#ffffff", "#0d1117"):
            assert _contrast(colour, background) >= 3, f"{colour} on {background}"


def test_only_the_same_work_is_compared() -> None:
    """Whoever returns anything but what is stored is not measured."""
    right: dict[str, Callable[[int], str]] = {"right": str}
    wrong: dict[str, Callable[[int], str]] = {"wrong": lambda _: "1"}

    assert len(seconds_per_call(right, {1: "1", 2: "2"}, rounds=3)["right"].values) == 3
    with pytest.raises(AssertionError, match="wrong does not return"):
        seconds_per_call(right | wrong, {1: "1", 2: "2"}, rounds=3)


def test_the_spread_is_the_middle_half() -> None:
    """One slow round changes neither the median nor the spread much."""
    measured = Measured((1, 2, 3, 4, 500))

    assert (measured.median, measured.spread) == (3, (2, 4))


@pytest.mark.parametrize("dress", ["/oauth/token", "/slack/oauth.v2.access"])
def test_the_login_server_is_strict_in_both_dresses(dress: str) -> None:
    """A refresh token is taken once; the second time kills its family, and both are counted."""
    with login(0) as server, requests.Session() as http:

        def refresh(token: str) -> dict[str, str]:
            form = {"grant_type": "refresh_token", "refresh_token": token}
            answer: dict[str, str] = http.post(server.url + dress, form, timeout=TIMEOUT).json()
            return answer

        _, first = pair("ada", 0)
        second = refresh(first)["refresh_token"]
        assert (second, server.family("ada").alive) == (pair("ada", 1)[1], True)
        assert refresh(first)["error"] in {"invalid_grant", "invalid_refresh_token"}
        assert "access_token" not in refresh(second)
        assert (server.family("ada").alive, server.family("ada").sent) == (False, 3)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_one_token_is_found_among_many(engine: str, postgres: Postgres, tmp_path: Path) -> None:
    """The rows that fill a database are all there, and those that are read open."""
    made = Databases(tmp_path, postgres.url("postgres"))
    with made.app(engine, "many"):
        ours = ThisApp.current()
        pairs = {n: Pair(databases.token(f"access-{n}"), databases.token(f"r-{n}")) for n in (1, 2)}
        ours.store(pairs, 3600)
        ours.fill(3, 50)

        assert {n: ours.token(n) for n in pairs} == {n: pairs[n].access for n in pairs}
        assert ours.count() == 50


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast ratio."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
