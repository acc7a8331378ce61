"""Selects the databases of a test, and the cases that run by default."""

import os
from collections import Counter

import pytest

from tests.support.actors import REPLACED

# The fixtures with a database, and the scope in which each is shared.
DATABASES = {"database_url": "function", "shared_rig": "module"}

# The fixtures with a sandbox.
CONNECTED = {"sandbox", "shared_rig"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: tests wait for servers a third of the time."""
    return (os.cpu_count() or 1) + 1


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test with a database on SQLite and, as a slow test, on PostgreSQL.

    With the mark `both_databases` it runs on PostgreSQL by default too.
    """
    one = metafunc.definition.get_closest_marker("one_database")
    both = metafunc.definition.get_closest_marker("both_databases")
    engines = [
        "sqlite",
        "postgresql" if both else pytest.param("postgresql", marks=pytest.mark.slow),
    ]
    if one:
        engines = list(one.args or ["sqlite"])
    for name in DATABASES.keys() & metafunc.fixturenames:
        metafunc.parametrize(name, engines, indirect=True, scope=DATABASES[name])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of parts that a fork has replaced or deleted."""
    _shorten(items)
    for item in items:
        if CONNECTED.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("sandbox")
    gone = [item for item in items if any(map(item.get_closest_marker, REPLACED))]
    items[:] = [item for item in items if item not in gone]
    config.hook.pytest_deselected(items=gone)


def _shorten(items: list[pytest.Item]) -> None:
    """Mark the cases of a test with the mark `short_form` as slow, except the first ones."""
    quick: Counter[tuple[str, str]] = Counter()
    for item in items:
        mark = item.get_closest_marker("short_form")
        if mark is None or item.get_closest_marker("slow"):
            continue
        test, _, case = item.nodeid.partition("[")
        form = test, "postgresql" if "postgresql" in case else "sqlite"
        quick[form] += 1
        if quick[form] > mark.args[0]:
            item.add_marker("slow")
