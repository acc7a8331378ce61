"""What is required and locked: no package without a use, a hash and a known advisory's fix."""

import re
import sys
from functools import cache
from importlib.metadata import (
    Distribution,
    PackageNotFoundError,
    distribution,
    packages_distributions,
)
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from app.settings.config import ROOT
from tests.support.tree import imported_names, modules

#: The one file that imports what need not be installed.
#: What alone imports the packages of an optional requirement.
OPTIONAL = {
    Path("app/katana/tracing.py"): "requirements-tracing.in",
    Path("app/operations/worker/celery_tasks.py"): "requirements-celery.in",
}

LOCKS = (
    "requirements.txt",
    "requirements-tracing.txt",
    "requirements-celery.txt",
    "requirements-dev.txt",
)

#: All that is used of Authlib: not authlib.jose, and not its Flask client, which keeps states in a
#: cache or a cookie. Most of its advisories are in those.
AUTHLIB = {
    "app/katana/oauth.py": {"authlib.common.security", "authlib.integrations.requests_client"}
}

#: The first versions without a known advisory that touches this app.
FLOORS = {
    "authlib": "1.9.6",
    "joserfc": "1.6.8",
    "flask": "3.1.3",
    "werkzeug": "3.1.6",
    "jinja2": "3.1.6",
    "gunicorn": "27.0.1",
    "requests": "2.32.4",
    "urllib3": "2.6.3",
    "cryptography": "44.0.1",
    "certifi": "2024.7.4",
    "idna": "3.7",
}


def pins(lock: str) -> dict[str, Version]:
    """The version of each distribution that `lock` names."""
    return {name: Version(next(iter(pin.specifier)).version) for name, pin in pinned(lock).items()}


def pinned(lock: str) -> dict[str, Requirement]:
    """What `lock` pins, by name."""
    found = re.findall(r"(?m)^[a-z0-9._-]+(?:\[[a-z0-9.,_-]+\])?==\S+", (ROOT / lock).read_text())
    pins = [Requirement(pin) for pin in found]
    return {canonicalize_name(pin.name): pin for pin in pins}


#: Which distributions an importable name belongs to. Every file of each is looked at, once.
owners = cache(packages_distributions)


def installed(name: str) -> Distribution | None:
    """What is installed of it: a lock also names what only another platform needs."""
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def direct(source: str) -> dict[str, Requirement]:
    """The requirements in `source`, by name."""
    lines = (line.split("#")[0].strip() for line in (ROOT / source).read_text().splitlines())
    found = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


@pytest.mark.parametrize("path", [*modules("app"), *modules("sandbox")], ids=str)
def test_what_the_app_imports_is_a_direct_requirement(path: Path) -> None:
    """A package that the app imports is not left to another package to bring along."""
    listed = direct("requirements.in").keys() | direct(OPTIONAL.get(path, "requirements.in")).keys()
    distributions = owners()

    imported = {name.split(".")[0] for name in imported_names(path)}
    foreign = imported - {"app", "sandbox"} - sys.stdlib_module_names

    unlisted = {
        name
        for name in foreign
        if listed.isdisjoint(map(canonicalize_name, distributions.get(name, [name])))
    }

    assert not unlisted, (
        f"{path} imports {', '.join(sorted(unlisted))}: add what it comes from to "
        "requirements.in, with its reason, and run `make lock`."
    )


def test_no_requirement_is_idle() -> None:
    """What nothing imports is not installed, but for what is loaded by its name."""
    by_name = {"gunicorn", "psycopg", "redis"}  # redis for a fork with RATELIMIT_STORAGE_URI
    imported = {
        name for path in [*modules("app"), *modules("sandbox")] for name in imported_names(path)
    }
    distributions = owners()
    used = {
        canonicalize_name(owner)
        for name in imported
        for owner in distributions.get(name.split(".")[0], [])
    }

    idle = direct("requirements.in").keys() - used - by_name

    assert not idle, f"Take {', '.join(sorted(idle))} out of requirements.in and run `make lock`."


@pytest.mark.parametrize("lock", LOCKS)
def test_no_version_with_a_known_advisory_is_locked(lock: str) -> None:
    """A-21, A-22: both locks are at or above the first version without a known advisory."""
    locked = pins(lock)

    old = [
        f"{name} {locked[name]} < {floor}"
        for name, floor in FLOORS.items()
        if locked[name] < Version(floor)
    ]

    assert not old, f"Run `make lock UPGRADE=1`: {', '.join(old)} in {lock}."


def test_no_version_with_a_known_advisory_can_be_locked() -> None:
    """requirements.in itself keeps `make lock` above the floors."""
    for name, requirement in direct("requirements.in").items():
        if name in FLOORS:
            just_below = Version(FLOORS[name] + ".dev0")

            assert not requirement.specifier.contains(just_below, prereleases=True), (
                f"Write {name}>={FLOORS[name]} in requirements.in."
            )


@pytest.mark.parametrize("path", modules("app"), ids=str)
def test_little_of_authlib_is_used(path: Path) -> None:
    """A-21: advisories in the rest of it are none of ours."""
    used = {name for name in imported_names(path) if name.split(".")[0] == "authlib"}

    assert used == AUTHLIB.get(str(path), set()), (
        f"{path} uses {', '.join(sorted(used))}: let app/katana/oauth.py alone touch Authlib, and "
        "read Authlib's advisories before you add to AUTHLIB in this file."
    )


def test_a_newer_authlib_is_a_decision() -> None:
    """A-21: what oauth.py overrides in Authlib is read again before another minor version."""
    specifier = direct("requirements.in")["authlib"].specifier

    assert not specifier.contains("1.10"), "Read app/katana/oauth.py against the new version."


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_locked_has_a_hash(lock: str) -> None:
    """S-82: nothing is installed but what was locked, by the byte."""
    blocks = re.split(r"(?m)^(?=[a-z0-9])", (ROOT / lock).read_text())[1:]

    bare = [block.split("==")[0] for block in blocks if "--hash=sha256:" not in block]

    assert blocks
    assert not bare, f"Run `make lock`: {', '.join(bare)} in {lock} have no hash."


@pytest.mark.parametrize("lock", [*LOCKS[1:], "benchmarks/requirements.txt"])
def test_the_locks_agree(lock: str) -> None:
    """What is tested and measured is what is deployed: the same versions of what the app needs."""
    tested = pins(lock)

    different = [
        name for name, version in pins("requirements.txt").items() if tested.get(name) != version
    ]

    assert not different, f"Run `make lock`: {lock} differs in {', '.join(different)}."


@pytest.mark.parametrize(
    "name", [*(lock.removesuffix(".txt") for lock in LOCKS), "benchmarks/requirements"]
)
def test_the_locks_hold_what_is_asked_for(name: str) -> None:
    """Nobody has changed a .in file and forgotten the lock."""
    locked = pins(f"{name}.txt")

    missing = [
        str(requirement)
        for wanted, requirement in direct(f"{name}.in").items()
        if wanted not in locked or not requirement.specifier.contains(locked[wanted])
    ]

    assert not missing, f"Run `make lock`: {name}.txt lacks {', '.join(missing)}."


@pytest.mark.parametrize("lock", LOCKS)
def test_the_locks_name_the_extras_that_are_asked_for(lock: str) -> None:
    """Else pip takes the newest version for the extra, which the lock has no hash of."""
    pins = pinned(lock)

    bare = [
        f"{asked.name}[{','.join(sorted(asked.extras))}] for {name}"
        for name in pins
        if (found := installed(name))
        for asked in map(Requirement, found.requires or [])
        if asked.extras and (not asked.marker or asked.marker.evaluate({"extra": ""}))
        if not asked.extras <= pins[canonicalize_name(asked.name)].extras
    ]

    assert not bare, f"Keep --no-strip-extras in `make lock`: {lock} lacks {', '.join(bare)}."
