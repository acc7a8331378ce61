"""Does the steps of docs/make-it-yours.md on a copy, and checks that the result still works.

The steps and the files are read from that page, so neither can change without the other.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from app.settings.config import ROOT
from tests.support.forks import Fork

#: Of the tests that are left, those that say most in little time.
TRIED = ("tests/connections/test_attempts.py", "tests/connections/test_connect.py")
#: As `make test` runs all of them.
ALL = ("--numprocesses=auto", "--maxprocesses=4", "--dist=worksteal")


def steps() -> dict[str, str]:
    """The text of each step of docs/make-it-yours.md, by its name."""
    text = (ROOT / "docs" / "make-it-yours.md").read_text()
    return dict(re.findall(r"(?ms)^\d\. \*\*(\w+)\*\*: (.*?)(?=^\S)", text))


def named(step: str) -> list[str]:
    """The files that a step names."""
    return re.findall(r"`([\w./]+/[\w.]*)`", steps()[step])


def rename(fork: Fork) -> None:
    """The name of the app, and an end to trying these steps."""
    fork.remove("tests/repository/fork/", "tests/repository/test_fork.py")
    fork.change("templates/base.html", 'name = "[^"]+"', 'name = "Loomcount"')


def replace_dashboard(fork: Fork) -> None:
    """Products in place of orders and stock."""
    kept = ("app/katana/records.py", "tests/support/actors.py")
    fork.remove(*(file for file in named("Dashboard") if file not in kept))
    fork.put("dashboard.py", "app/pages")
    fork.put("dashboard.html", "templates")
    fork.change("tests/support/actors.py", 'LIVE = "[^"]+"', 'LIVE = "Leather saddle"')
    fork.change("tests/support/actors.py", r"frozenset\(\)", 'frozenset({"dashboard"})')


def replace_accounts(fork: Fork) -> None:
    """An address is all that signing in needs."""
    kept = ("app/pages/security.py", "app/accounts/sessions.py", "tests/support/actors.py")
    kept += ("templates/base.html", "templates/landing.html", "tests/support/journeys.py")
    kept += ("app/pages/__init__.py",)
    fork.remove(*(file for file in named("Accounts") if file not in kept))
    fork.put("views.py", "app/accounts")
    fork.put("sign_in.html", "templates")
    fork.change("app/pages/__init__.py", r"\n    account,", "")
    fork.change("app/pages/__init__.py", r"\n.*account\.bp.*", "")
    fork.change("templates/base.html", r"<a href=[^>]*account\.account[^>]*>(.*?)</a>", r"\1")
    fork.change("app/pages/security.py", r'\s+"accounts.sign_up\w*",', "")
    for page in ("templates/base.html", "templates/landing.html"):
        fork.change(page, r"\n.*accounts\.sign_up.*", "")
    fork.change("tests/support/actors.py", '"/sign-up"', '"/sign-in"')
    fork.change("tests/support/actors.py", '"dashboard"}', '"dashboard", "accounts"}')
    fork.change("tests/support/journeys.py", '"/sign-up"', '"/sign-in"')
    fork.change("tests/support/journeys.py", r".*Password.*\n", "")
    fork.change("tests/support/journeys.py", "Create the account", "Sign in")
    fork.change("requirements.in", r"(?m)^(wtforms|zxcvbn).*\n", "")


def remove_sandbox(fork: Fork) -> None:
    """Katana alone."""
    kept = ("app/operations/commands/__init__.py", "tests/support/actors.py", "requirements.in")
    fork.remove(*(file for file in named("Sandbox") if file not in kept))
    fork.change("app/operations/commands/__init__.py", r"\n    sandbox,", "")
    fork.change("app/operations/commands/__init__.py", r", sandbox\.sandbox,", ",")
    fork.change("requirements.in", r"(?m)^aiosmtpd.*\n", "")
    fork.change("pyproject.toml", r'files = \["app", "sandbox", ', 'files = ["app", ')
    fork.change("tests/support/actors.py", '"accounts"}', '"accounts", "sandbox"}')


def remove_sync(fork: Fork) -> None:
    """No copy: pages ask Katana, and the worker only keeps connections alive."""
    kept = (
        "README.md",
        "docs/running.md",
        "docs/refresh-protocol.md",
        "app/sync/copy.py",
        "migrations/versions/20261127_one_spelling.py",
    )
    kept += ("app/__init__.py", "app/pages/katana_api.py", "app/pages/__init__.py")
    kept += ("app/pages/dashboard.py", "app/operations/worker/__init__.py")
    kept += ("app/operations/doctor/__init__.py", "app/pages/security.py")
    kept += ("templates/dashboard.html", "templates/base.html", "templates/landing.html")
    fork.remove(*(file for file in named("Sync") if file not in kept))
    spelling = "migrations/versions/20261127_one_spelling.py"
    fork.change(spelling, '(?m)^down_revision = ".*"', 'down_revision = "20261127_renewals"')
    fork.change("app/__init__.py", "connections, mail, pages, sync", "connections, mail, pages")
    fork.change("app/__init__.py", r"\n.*sync\.init_app.*", "")
    fork.change("app/pages/katana_api.py", "import connections, sync", "import connections")
    fork.change("app/pages/katana_api.py", r"\n.*meter = .*", "")
    fork.change("app/pages/katana_api.py", " meter=meter,", "")
    fork.change("app/operations/doctor/__init__.py", r"\n    synced,", "")
    fork.change("app/operations/doctor/__init__.py", r"\n    synced\.\w+,", "")
    for page in ("copy", "webhooks"):
        fork.change("app/pages/__init__.py", rf"\n    {page},", "")
        fork.change("app/pages/__init__.py", rf" {page}\.bp,", "")
    fork.change("app/pages/security.py", r'(, |\n.*address and.*\n +)"webhooks.deliver",?', "")
    jobs = "app/operations/worker/__init__.py"
    fork.change(jobs, "connections, mail, sync", "connections, mail")
    fork.change(jobs, r"\n +\*_sync_jobs\(\),", "")
    for function in ("_sync_jobs", "_until_done"):
        fork.change(jobs, rf"(?s)\n\n\ndef {function}\(.*?(?=\n\n\n|\n$)", "")
    fork.change("README.md", r"\n.*docs/sync\.md.*", "")
    fork.change("docs/running.md", r" \[sync\.md\]\(sync\.md\) says how it works\.", "")
    fork.change("docs/refresh-protocol.md", r"\n.*\(sync\.md\).*", "")
    fork.change("templates/base.html", "<footer>.*</footer>", "<footer>Nothing is kept.</footer>")


STEPS: dict[str, Callable[[Fork], None]] = {
    "Name": rename,
    "Dashboard": replace_dashboard,
    "Accounts": replace_accounts,
    "Sync": remove_sync,
    "Sandbox": remove_sandbox,
}


@pytest.fixture
def fork(tmp_path: Path) -> Fork:
    """A copy with all steps done that replace; what may be removed is there."""
    fork = Fork(tmp_path / "loomcount")
    for step in ("Name", "Dashboard", "Accounts"):
        STEPS[step](fork)
    return fork


def test_every_step_is_tried() -> None:
    """The steps of the page are the ones below, and every file that it names exists."""
    assert list(steps()) == list(STEPS)
    missing = [name for step in STEPS for name in named(step) if not (ROOT / name).exists()]
    assert not missing, f"docs/make-it-yours.md names files that do not exist: {', '.join(missing)}"


@pytest.mark.slow
def test_a_fork_passes_the_tests_that_are_left(fork: Fork) -> None:
    """Renamed, with another dashboard and another sign-in: connecting and renewing still hold."""
    fork.run("pytest", "-q", "-x", "-p", "no:cacheprovider", *TRIED, "-k", "not postgresql")


@pytest.mark.slow
def test_a_fork_without_sync_passes_the_tests_that_are_left(fork: Fork) -> None:
    """The core knows nothing of it: connecting and renewing hold, and the worker starts."""
    remove_sync(fork)

    fork.run("ruff", "check", ".")
    fork.run("mypy")
    tried = (
        "tests/connections/test_attempts.py",
        "tests/database/test_migrations.py",
        "tests/repository/test_repository.py::test_every_link_leads_somewhere",
    )
    fork.run("pytest", "-q", "-x", "-p", "no:cacheprovider", *tried, "-k", "not postgresql")
    listed = fork.ended("flask", "worker", "--help", **settings())
    assert listed.returncode == 0, listed.stderr


@pytest.mark.slow
@pytest.mark.parametrize("removed", ["nothing", "sync", "sandbox", "both"])
def test_a_fork_passes_make_test_and_make_check(fork: Fork, removed: str) -> None:
    """Done to the letter, nothing more is needed for both to be green."""
    if removed in {"sync", "both"}:
        remove_sync(fork)
    if removed in {"sandbox", "both"}:
        remove_sandbox(fork)

    fork.run("ruff", "format", "--check", ".")
    fork.run("ruff", "check", ".")
    fork.run("mypy")
    fork.run("pytest", "-q", *ALL)


@pytest.mark.slow
def test_sync_can_go_where_our_accounts_stay(tmp_path: Path) -> None:
    """No test of the accounts needs the copy."""
    fork = Fork(tmp_path / "loomcount")
    for step in ("Name", "Dashboard", "Sync"):
        STEPS[step](fork)

    fork.run("ruff", "check", ".")
    fork.run("pytest", "-q", "--collect-only")


@pytest.mark.slow
def test_without_the_sandbox_the_app_is_whole(fork: Fork) -> None:
    """Nothing of the app needs the sandbox: its pages and its commands are all there."""
    remove_sandbox(fork)

    fork.run("flask", "routes", **settings())
    fork.run("ruff", "check", ".")
    fork.run("pytest", "-q", "--collect-only")


def test_without_the_sandbox_a_start_asks_for_a_client_id(fork: Fork) -> None:
    """`make run` says what it needs then, also where it has run with the sandbox before."""
    remove_sandbox(fork)
    (fork.path / "instance").mkdir()
    (fork.path / "instance" / "sandbox.env").write_text("KATANA_CLIENT_ID=sandbox-1\n")

    ended = fork.ended("app.operations.start")

    assert ended.returncode == 1
    assert "KATANA_CLIENT_ID" in ended.stderr
    assert "andbox" not in ended.stderr


def settings() -> dict[str, str]:
    """What a fork has of its own."""
    return {
        "KATANA_CLIENT_ID": "loomcount",
        "KATANA_CLIENT_SECRET": "0123456789abcdefghijklmnop",
        "KATANA_REDIRECT_URI": "https://loomcount.example/katana/callback",
        "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz",
        "TOKEN_ENCRYPTION_KEYS": "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    }
