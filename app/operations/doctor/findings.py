"""What a check is given, and what it finds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from flask import Flask
from requests import Session
from sqlalchemy import Engine

from app.connections import Connections
from app.settings.config import Settings


class Level(StrEnum):
    """How bad it is. Only a fault keeps the app from doing its work."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was found, and how to mend it. No value of a secret."""

    check: str
    level: Level
    says: str
    remedy: str | None = None


@dataclass(frozen=True)
class Examined:
    """The app that is checked, and the means to look at it."""

    app: Flask
    settings: Settings
    connections: Connections
    engine: Engine
    #: Asks as the app itself does: no proxy and no certificates from the environment.
    http: Session


Check = Callable[[Examined], Iterator[Finding]]


def ok(check: str, says: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, says)


def warning(check: str, says: str, remedy: str) -> Finding:
    """It works, but not as it should, or not for everybody."""
    return Finding(check, Level.WARNING, says, remedy)


def fault(check: str, says: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(check, Level.FAULT, says, remedy)
