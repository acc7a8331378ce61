"""Runs flask doctor in a test."""

import json
from typing import Any

from flask import Flask

from app.database.db import db
from tests.support.commands import run

CALLBACK = "/katana/callback"


class Report:
    """The report of doctor about an app."""

    def __init__(self, app: Flask) -> None:
        told = run(app, "doctor", "--json")
        self.status = told.status
        self.output = told.output
        self.findings: list[dict[str, str]] = json.loads(told.stdout)["findings"]

    def amiss(self) -> list[tuple[str, str]]:
        """The checks with a finding, and its severity."""
        return [(f["check"], f["level"]) for f in self.findings if f["level"] != "ok"]

    def says(self, check: str) -> str:
        """All findings of a check."""
        return " ".join(f["says"] for f in self.findings if f["check"] == check)


def execute(app: Flask, *statements: Any) -> None:
    """Execute statements directly on the database."""
    with app.app_context(), db.engine.begin() as connection:
        for statement in statements:
            connection.execute(statement)
