"""The input of a check, and its findings."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from flask import Flask
from requests import Session
from sqlalchemy import Engine

from app.connections import Connections
from app.settings.config import Settings


class Level(StrEnum):
    """The severity. Only a fault prevents the app from working."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was found, and how to repair it. It contains no secret."""

    check: str
    level: Level
    says: str
    remedy: str | None = None


@dataclass(frozen=True)
class Examined:
    """What a check needs: the app, its settings, and the means to look at them."""

    app: Flask
    settings: Settings
    connections: Connections
    engine: Engine
    #: The same kind of session as the app's: it ignores proxies and certificates in the
    #: environment.
    http: Session


Check = Callable[[Examined], Iterator[Finding]]


def ok(check: str, says: str) -> Finding:
    """The check passes."""
    return Finding(check, Level.OK, says)


def warning(check: str, says: str, remedy: str) -> Finding:
    """It works, but not as it should, or not for all users."""
    return Finding(check, Level.WARNING, says, remedy)


def fault(check: str, says: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(check, Level.FAULT, says, remedy)
