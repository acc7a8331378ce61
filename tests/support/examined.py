"""What flask doctor reports."""

import json
from typing import Any

from flask import Flask

from app.database.db import db
from tests.support.commands import run

CALLBACK = "/katana/callback"


class Report:
    """What doctor says of an app."""

    def __init__(self, app: Flask) -> None:
        told = run(app, "doctor", "--json")
        self.status = told.status
        self.output = told.output
        self.findings: list[dict[str, str]] = json.loads(told.stdout)["findings"]

    def amiss(self) -> list[tuple[str, str]]:
        """The checks that found something, and how bad it is."""
        return [(f["check"], f["level"]) for f in self.findings if f["level"] != "ok"]

    def says(self, check: str) -> str:
        """All that a check says."""
        return " ".join(f["says"] for f in self.findings if f["check"] == check)


def execute(app: Flask, *statements: Any) -> None:
    """Change the database behind everybody's back."""
    with app.app_context(), db.engine.begin() as connection:
        for statement in statements:
            connection.execute(statement)
