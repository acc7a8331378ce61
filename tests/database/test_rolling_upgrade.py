"""Every migration can run while processes of the version before still work on the database."""

import ast
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from flask import Flask

from app.settings.config import ROOT
from tests.support.actors import LIVE, Maker
from tests.support.commands import ended, flask, module
from tests.support.sandbox import Sandbox
from tests.support.servers import gunicorn

MIGRATIONS = sorted((ROOT / "migrations" / "versions").glob("*.py"))
#: What takes something away from the version before.
REMOVES = {"drop_table", "drop_column", "rename_table"}
#: What an alter_column must not say: the name, the type, and that a value is required.
ALTERS = {"new_column_name", "type_"}
#: A migration that says since which release nothing uses what it removes.
UNUSED_SINCE = "UNUSED_SINCE"


def breaks(source: str) -> list[str]:
    """What in this migration breaks the version before, a sentence each."""
    module = ast.parse(source)
    told = {
        target.id
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    forward = [
        node
        for node in module.body
        if isinstance(node, ast.FunctionDef) and node.name != "downgrade"
    ]
    calls = [node for part in forward for node in ast.walk(part) if isinstance(node, ast.Call)]
    return [
        reason
        for call in calls
        if isinstance(call.func, ast.Attribute)
        for reason in _reasons(call, call.func.attr)
        if not (UNUSED_SINCE in told and call.func.attr in REMOVES)
    ]


def _reasons(call: ast.Call, name: str) -> Iterator[str]:
    arguments = {word.arg: word.value for word in call.keywords}
    if name in REMOVES:
        yield f"{name} takes away what the version before still uses"
    if name == "alter_column" and ALTERS & arguments.keys():
        yield "alter_column changes a name or a type that the version before uses"
    if name == "alter_column" and _is(arguments.get("nullable"), False):
        yield "alter_column requires a value that the version before does not write"
    if name == "add_column":
        yield from _reasons_of_column(call)


def _reasons_of_column(call: ast.Call) -> Iterator[str]:
    for column in (node for node in ast.walk(call) if isinstance(node, ast.Call)):
        words = {word.arg: word.value for word in column.keywords}
        if _is(words.get("nullable"), False) and "server_default" not in words:
            yield "add_column without server_default: the version before cannot insert a row"


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.stem)
def test_a_migration_runs_beside_the_version_before(path: Path) -> None:
    """So that a rolling upgrade is possible: docs/running.md has its steps."""
    found = breaks(path.read_text())

    assert not found, (
        f"{path.name}: {'; '.join(found)}. Add in this release, remove in the one after it: "
        f"a later migration that removes says {UNUSED_SINCE} = '<release>'."
    )


BEGINNING = "revision = 'x'\n\n\ndef upgrade() -> None:\n    "


@pytest.mark.parametrize(
    "statement",
    [
        "op.drop_table('orders')",
        "op.drop_column('orders', 'status')",
        "op.rename_table('orders', 'sales')",
        "op.alter_column('orders', 'status', new_column_name='state')",
        "op.alter_column('orders', 'status', type_=sa.Integer())",
        "op.alter_column('orders', 'status', nullable=False)",
        "op.add_column('orders', sa.Column('colour', sa.String(), nullable=False))",
        "with op.batch_alter_table('orders') as batch:\n        batch.drop_column('status')",
    ],
)
def test_what_breaks_the_version_before_is_found(statement: str) -> None:
    """Each kind of it, also in a batch."""
    assert len(breaks(BEGINNING + statement)) == 1


@pytest.mark.parametrize(
    "source",
    [
        BEGINNING + "op.create_table('labels')",
        BEGINNING + "op.create_index('ix_labels', 'labels', ['id'])",
        BEGINNING + "op.add_column('orders', sa.Column('colour', sa.String(), nullable=True))",
        BEGINNING
        + "op.add_column('o', sa.Column('n', sa.Integer(), nullable=False, server_default='0'))",
        BEGINNING + "pass\n\n\ndef downgrade() -> None:\n    op.drop_table('labels')",
        "UNUSED_SINCE = '1.4.0'\n" + BEGINNING + "op.drop_column('orders', 'colour')",
    ],
)
def test_what_the_version_before_does_not_notice_is_allowed(source: str) -> None:
    """Additions, and removals of what no release uses any more."""
    assert not breaks(source)


NEXT = f"""
import sqlalchemy as sa
from alembic import op

revision = "29991231_next"
down_revision = {ScriptDirectory(str(ROOT / "migrations")).get_current_head()!r}


def upgrade() -> None:
    op.add_column("connections", sa.Column("colour", sa.String(20)))
    op.add_column("users", sa.Column("size", sa.Integer(), nullable=False, server_default="1"))
    op.create_index("ix_users_size", "users", ["size"])
"""


@pytest.fixture
def next_migrations(tmp_path: Path) -> Path:
    """The migrations of the next version."""
    folder = shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    (folder / "versions" / "29991231_next.py").write_text(NEXT)
    return folder


@pytest.mark.slow
@pytest.mark.both_databases
def test_a_host_serves_on_while_and_after_the_next_version_migrates(
    app: Flask,
    environ: dict[str, str],
    listener: socket.socket,
    served_maker: Maker,
    sandbox: Sandbox,
    next_migrations: Path,
    tmp_path: Path,
) -> None:
    """No page fails, the host stays ready, and a token that expires meanwhile is renewed."""
    sandbox.rules(requests_per_minute=100_000)
    with (
        gunicorn(environ, listener, tmp_path / "served.log"),
        ThreadPoolExecutor(1) as executor,
    ):
        served_maker.sign_up()
        served_maker.connect()
        sandbox.expire()
        migrating = executor.submit(_migrate, environ, next_migrations)
        pages = [served_maker.dashboard()]
        while not migrating.done():
            pages.append(served_maker.dashboard())
        migrating.result()
        pages.append(served_maker.dashboard())

        wrong = [page.text for page in pages if page.status != 200 or LIVE not in page.text]
        assert not wrong
        assert served_maker.get("/readyz").status == 200
    (family,) = sandbox.ledger().families
    assert not any(token.presented > 1 for token in family.refresh_tokens)
    assert len(sandbox.ledger().of("refresh")) == 1


def _migrate(environ: dict[str, str], folder: Path) -> None:
    assert ended(flask(environ, "db", "upgrade", "--directory", str(folder))).status == 0


@pytest.mark.own_stage
@pytest.mark.slow
@pytest.mark.one_database
def test_the_version_before_does_not_start_on_newer_tables(
    app: Flask, environ: dict[str, str], next_migrations: Path
) -> None:
    """One sentence, status 1, and nothing changed."""
    _migrate(environ, next_migrations)

    started = ended(module(environ, "app.operations.serve"))
    current = ended(flask(environ, "db", "current", "--directory", str(next_migrations)))

    assert started.status == 1
    assert started.output.strip().startswith("The tables are newer than this code.")
    assert "Traceback" not in started.output
    assert "29991231_next" in current.output
