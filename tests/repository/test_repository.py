"""The laws of the code base itself. Each failure says what to do."""

import ast
import os
import re
import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values

from app.settings.config import ROOT, SETTINGS, Settings
from tests.support.tree import imported_names, modules, tracked_files

#: What the core stands on. It does without settings/, so that it can be lifted into another app.
BELOW_CORE = {"credentials", "database", "errors"}
BELOW = {"settings"} | BELOW_CORE
#: Which parts of the app each part may import. create_app() joins them all.
MAY_IMPORT = {
    "errors": set(),
    "credentials": set(),
    "settings": {"credentials", "errors"},
    "database": {"errors"},
    # The core: imports nothing of the example around it.
    "katana": BELOW_CORE,
    "connections": {"katana"} | BELOW_CORE,
    # The example that a fork replaces, and what runs it.
    "accounts": BELOW,
    "sync": {"connections", "katana"} | BELOW,
    "mail": {"accounts", "connections"} | BELOW,
    "pages": {"accounts", "operations", "sync", "connections", "katana"} | BELOW,
    "operations": {"accounts", "mail", "sync", "connections", "katana"} | BELOW,
}

#: The one file of the core that names the tables of the example around it.
HOST = Path("app/connections/host.py")

TOP_LEVEL = {
    *("app", "sandbox", "migrations", "templates", "tests", "benchmarks"),
    *("requirements.in", "requirements.txt", "requirements-dev.in", "requirements-dev.txt"),
    *("requirements-tracing.in", "requirements-tracing.txt"),
    *("requirements-celery.in", "requirements-celery.txt"),
    *("README.md", "CONTRIBUTING.md", "docs", "CHANGELOG.md", "LICENSE"),
    *(".env.example", ".gitignore", ".github", ".ci"),
    *("Makefile", "pyproject.toml", "gunicorn.conf.py", "wsgi.py"),
    # Where `docker build` and `docker compose` look for them; what they use is in deploy/.
    *("Dockerfile", ".dockerignore", "compose.yaml", "compose.override.yaml", "deploy"),
}

CONFIG = "app/settings/config.py"

FOREIGN = re.compile(
    r"(?<![\w.:/-])/(?:home|root|Users|tmp|work)/[\w.-]+"  # a path on somebody's machine
    r"|(?:files\.pythonhosted|pypi|registry\.npmjs)\.org|--(?:extra-)?index-url"  # a package index
)

WALL_CLOCK = re.compile(
    r"\b(?:now|utcnow|today|time|time_ns|localtime|gmtime|ctime|strftime)\(|from time import"
    r"|\b(?:current_timestamp|localtimestamp)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("path", [*modules("app/connections"), *modules("app/katana")], ids=str)
def test_no_worker_judges_by_its_own_clock(path: Path) -> None:
    """R-8: a worker whose clock is ten minutes wrong does no harm, since nobody asks that clock."""
    found = WALL_CLOCK.search((ROOT / path).read_text())

    assert not found, (
        f"{path} asks the machine's clock by {found[0] if found else ''}: compare moments in SQL, "
        "with clock.database_time(), and measure durations with clock.monotonic()."
    )


@pytest.mark.parametrize("path", modules("app"), ids=str)
def test_imports_go_one_way(path: Path) -> None:
    """Pages know connections, connections know Katana and the database; never the reverse."""
    part = path.with_suffix("").parts[1]
    allowed = MAY_IMPORT.get(part)
    imported = {name.split(".")[1] for name in imported_names(path) if name.startswith("app.")}
    imported.discard("create_app")  # the whole, which a launcher starts

    if path == HOST:
        imported.discard("accounts")

    wrong = set() if allowed is None else imported - allowed - {part}

    assert not wrong, (
        f"{path} imports {', '.join(sorted(wrong))}: app/{part} may import only "
        f"{', '.join(sorted(allowed or ())) or 'itself'}. Pass in what it needs as an argument, "
        "or move the code to the part that may know both."
    )


@pytest.mark.parametrize("path", modules("sandbox"), ids=str)
def test_the_sandbox_imports_nothing_from_the_app(path: Path) -> None:
    """It stands in for Katana over HTTP only, and is deleted by removing its folder."""
    shared = {name for name in imported_names(path) if name.split(".")[0] == "app"}

    assert not shared, f"{path} imports {', '.join(sorted(shared))}: reach the app over HTTP."


def test_every_setting_is_in_the_example() -> None:
    """.env.example lists the settings that the app reads, no more and no less, in their order."""
    example = list(dotenv_values(ROOT / ".env.example"))

    assert example == list(SETTINGS), (
        f"Settings in {CONFIG} and .env.example must list the same names in order: "
        f"{sorted(set(example) ^ set(SETTINGS)) or 'only the order differs'}."
    )


def test_every_setting_is_explained_in_one_line() -> None:
    """Above each setting in .env.example stands one line that says what it is."""
    lines = (ROOT / ".env.example").read_text().splitlines()

    bare = [
        line.split("=")[0]
        for above, line in zip(["", *lines], lines, strict=False)
        if "=" in line and not line.startswith("#") and not above.startswith("# ")
    ]

    assert not bare, f"Write one line of comment above {', '.join(bare)} in .env.example."


@pytest.mark.parametrize(
    "name",
    [
        "KATANA_CLIENT_SECRET",
        "SECRET_KEY",
        "SECRET_KEY_FALLBACKS",
        "TOKEN_ENCRYPTION_KEYS",
        "METRICS_TOKEN",
        "SMTP_URL",
    ],
)
def test_no_secret_has_a_default(name: str) -> None:
    """A secret stands empty in the example and in the code, so that nobody runs on a known one."""
    example = dotenv_values(ROOT / ".env.example")[name]

    assert not example, f"Leave {name} empty in .env.example."
    (field,) = (field for field in Settings.model_fields.values() if field.alias == name)
    assert field.is_required() or not field.default, f"Give {name} no default in {CONFIG}."


def test_no_file_tells_where_it_was_written() -> None:
    """No file names a path on somebody's machine or the host of a package index."""
    this_file = Path(__file__).resolve()
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked_files()
        if path != this_file and path.suffix not in {".png", ".ico", ".woff2"}
        for match in FOREIGN.finditer(path.read_text(encoding="utf-8"))
    ]

    assert not found, "Take these out, or make them relative:\n" + "\n".join(found)


def test_the_top_level_stays_small() -> None:
    """A new file or folder at the top is a decision, not a habit."""
    names = {path.relative_to(ROOT).parts[0] for path in tracked_files()}

    assert names <= TOP_LEVEL, (
        f"Move {', '.join(sorted(names - TOP_LEVEL))} into a folder where it belongs, "
        "or add it to TOP_LEVEL in this file with a reason in the commit."
    )


def test_the_readme_is_short() -> None:
    """The README is read in five minutes; the rest is in docs/."""
    lines = (ROOT / "README.md").read_text().splitlines()

    assert len(lines) <= 130, "Move the details into a page of docs/."


def test_the_map_names_every_part() -> None:
    """The map in the README names each part of the app."""
    parts = {f"{path.parent.name}/" for path in (ROOT / "app").glob("*/__init__.py")}
    map_ = (ROOT / "README.md").read_text().partition("\n## Map\n")[2].split("```")[1]

    assert parts <= set(re.findall(r"\w+/", map_)), "Name the new folder in README.md, '## Map'."


@pytest.mark.parametrize(
    "page",
    sorted(path.relative_to(ROOT) for path in [*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")]),
    ids=str,
)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A link to a file or to a heading of this repository exists."""
    broken = []
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", (ROOT / page).read_text()):
        file, _, heading = link.partition("#")
        target = (ROOT / page).parent / file if file else ROOT / page
        if not target.exists() or (heading and heading not in _anchors(target)):
            broken.append(link)

    assert not broken, f"{page} links to {', '.join(broken)}, which does not exist."


def _anchors(page: Path) -> set[str]:
    """The headings of a Markdown page, as GitHub names them in links."""
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text())
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", modules("tests"), ids=str)
def test_tests_act_on_the_real_thing(path: Path) -> None:
    """No test replaces HTTP or a part of the app by a mock: the sandbox is the double."""
    mocks = {"unittest.mock", "mock", "pytest_mock", "responses", "requests_mock", "httpretty"}

    used = imported_names(path) & mocks

    assert not used, f"{path} imports {', '.join(used)}: let the sandbox answer instead."


@pytest.mark.parametrize("path", modules("tests"), ids=str)
def test_every_test_states_its_law(path: Path) -> None:
    """The first line of each test says what must hold."""
    silent = [
        node.name
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        if not ast.get_docstring(node)
    ]

    assert not silent, f"Give these in {path} one line that states the law: {', '.join(silent)}."


def test_every_make_target_is_explained() -> None:
    """`make` alone tells what there is."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    shown = subprocess.run(
        ("make", "--no-print-directory"), cwd=ROOT, env=environ, capture_output=True, text=True
    )
    targets = re.findall(r"(?m)^\.PHONY: (\S+)", (ROOT / "Makefile").read_text())

    silent = [target for target in targets if f"make {target} " not in shown.stdout]

    assert not silent, f"Write `## what it does` behind {', '.join(silent)} in the Makefile."


@pytest.mark.parametrize("path", modules("app/connections"), ids=str)
def test_the_core_takes_its_session_from_one_file(path: Path) -> None:
    """Lifted into another application, only host.py is written anew."""
    taken = {"app.database.db", "app.accounts.models"} & imported_names(path)

    assert path == HOST or not taken, (
        f"{path} imports {', '.join(sorted(taken))}: import what it needs from {HOST}."
    )
