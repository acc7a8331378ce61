"""deploy/grafana and deploy/prometheus ask for what /metrics gives, and the alerts fire."""

import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.connections.outcomes import RefreshOutcome
from app.settings.config import ROOT
from tests.conftest import MakeApp, program

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
ALERT_TESTS = ALERTS.with_name("alerts.test.yml")
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text())
RULES = [r for group in yaml.safe_load(ALERTS.read_text())["groups"] for r in group["rules"]]
EXPRESSIONS = [
    *(rule["expr"] for rule in RULES),
    *(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]),
    *(variable["query"] for variable in DASHBOARD["templating"]["list"]),
]


@pytest.fixture
def scraped(new_app: MakeApp) -> set[str]:
    """The names of all that a server gives to Prometheus."""
    token = secrets.token_hex(32)
    client = new_app(METRICS_TOKEN=token).test_client()
    text = client.get("/metrics", headers={"Authorization": f"Bearer {token}"}).text
    return {
        sample.name for family in text_string_to_metric_families(text) for sample in family.samples
    }


def names() -> set[str]:
    """The metrics that the dashboard and the alerts ask for."""
    return {name for asked in EXPRESSIONS for name in re.findall(r"\bkatana_\w+", asked)}


@pytest.mark.one_database
def test_each_metric_that_is_asked_for_is_given(scraped: set[str]) -> None:
    """A metric that is renamed takes the dashboard and the alerts along."""
    assert len(names()) >= 9
    assert names() <= scraped


def test_each_outcome_that_is_asked_for_exists() -> None:
    """An outcome that is renamed leaves no alert that never fires."""
    asked = re.findall(r'outcome=~?"([\w|]+)"', "".join(EXPRESSIONS))

    assert {word for words in asked for word in words.split("|")} <= set(RefreshOutcome)


def expressions() -> Iterator[str]:
    """Each expression of the dashboard as Prometheus gets it from Grafana."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")


def test_prometheus_takes_the_rules_and_the_expressions(tmp_path: Path) -> None:
    """Also those of the dashboard, which are checked as rules."""
    promtool = program("promtool")
    shown = tmp_path / "dashboard.yml"
    rules = [{"record": f"r{n}", "expr": one} for n, one in enumerate(expressions())]
    shown.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))

    checked = subprocess.run(
        (promtool, "check", "rules", ALERTS, shown), capture_output=True, text=True
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_alerts_fire_when_they_should() -> None:
    """deploy/prometheus/alerts.test.yml has series for each, and when nothing may be told."""
    tested = subprocess.run(
        (program("promtool"), "test", "rules", ALERT_TESTS), capture_output=True, text=True
    )

    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert {rule["alert"] for rule in RULES} == set(
        re.findall(r"\bKatana[A-Z]\w+", ALERT_TESTS.read_text())
    )


def test_each_alert_says_what_to_do() -> None:
    """Somebody is woken by it: one sentence says what is wrong."""
    for rule in RULES:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"].endswith(".")
