"""Describes the machine of the measurements."""

import os
import platform
import sqlite3
from datetime import UTC, datetime
from importlib.metadata import version

import psutil
import psycopg

PACKAGES = (
    "flask",
    "sqlalchemy",
    "psycopg",
    "authlib",
    "requests",
    "cryptography",
    "gunicorn",
    "slack_sdk",
    "flask-dance",
    "social-auth-core",
    "social-auth-storage-sqlalchemy",
)


def described(postgres_url: str) -> list[tuple[str, str]]:
    """The machine and its software, as rows of a table."""
    with psycopg.connect(postgres_url) as connection:
        postgres = connection.info.parameter_status("server_version") or ""
    load, _, _ = os.getloadavg()
    return [
        ("Date", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("Processors", f"{os.cpu_count()} of {_processor()}"),
        ("Memory", f"{psutil.virtual_memory().total / 2**30:.0f} GB"),
        ("System", f"{platform.system()} {platform.release()}"),
        ("Load before the start", f"{load:.1f}"),
        ("Python", platform.python_version()),
        ("SQLite", sqlite3.sqlite_version),
        ("PostgreSQL", f"{postgres.split()[0]}, with its own settings but for max_wal_size"),
        ("Packages", ", ".join(f"{name} {version(name)}" for name in PACKAGES)),
    ]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2] for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0].strip() if names else platform.processor() or platform.machine()
