"""Guards are found by what they do: neither their layout nor new names hide them."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

import pytest

from app.settings.config import ROOT
from tests.connections.test_mutants import MUTANTS
from tests.support.mutants import Mutant
from tests.support.patterns import find, replaced

CODE = '''
class Refresh:
    """Renews a token."""

    @limited
    @logged("refresh")
    def run(self, lease, grant):
        try:
            if late(lease) and grant is not None:
                self.log.warning("not sent")
                return None
            columns = {"id": lease.number, "fence": lease.fence}
            return self.save(columns, lease, TRIES, pause=WAIT)
        except (OSError, ValueError):
            self.release(lease)
            raise
'''


@dataclass(frozen=True)
class Case:
    """What `old` and `new` do to the text."""

    old: str
    new: str
    before: str
    after: str


CASES = [
    Case("self.release(lease)", "", "            self.release(lease)\n", ""),
    Case("return None", "pass", "return None", "pass"),
    Case("raise", "self.log.flush()\nraise", "raise", "self.log.flush(); raise"),
    Case("late(lease)", "", "late(lease) and ", ""),
    Case("grant is not None", "not grant", "grant is not None", "not grant"),
    Case(
        "if late(lease) and grant is not None:",
        "if False:",
        "late(lease) and grant is not None",
        "False",
    ),
    Case("except (OSError, ValueError):", "except OSError:", "(OSError, ValueError)", "OSError"),
    Case("@limited", "", "    @limited\n", ""),
    Case('@logged("refresh")', '@logged("twice")', '@logged("refresh")', '@logged("twice")'),
    Case("pause=WAIT", "", ", pause=WAIT", ""),
    Case("TRIES,", "", ", TRIES", ""),
    Case('"fence": lease.fence,', "", ', "fence": lease.fence', ""),
    Case(
        "self.release(lease)\nraise",
        "self.release(lease)",
        "self.release(lease)\n            raise",
        "self.release(lease)",
    ),
    Case(
        'self.log.warning("not sent")\nreturn None',
        "",
        'self.log.warning("not sent")\n                return None',
        "pass",
    ),
    Case(
        '@limited\n@logged("refresh")\ndef run(self, lease, grant):',
        "@limited\ndef run(self, lease, grant):",
        '    @logged("refresh")\n',
        "",
    ),
    Case(
        "def run(self, lease, grant):",
        "def run(self, lease, grant=None):",
        "lease, grant)",
        "lease, grant=None)",
    ),
]
CALLED = [case.old for case in CASES]
#: Each is a name in the code above; `lease` and the two after it are local variables.
RENAMED = ["lease", "grant", "columns", "release", "late", "limited", "WAIT", "run", "Refresh"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the code above in a file."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "refresh.py").write_text(CODE)
    return tmp_path / "app"


def changed(folder: Path, code: str, old: str, new: str, where: str = "app") -> str:
    """The tree of the code after a change."""
    (folder / "refresh.py").write_text(code)
    place = find(folder.parent, where, old, new)
    return tree_of(replaced(place, new))


def tree_of(code: str) -> str:
    return ast.dump(ast.parse(code))


def renamed(code: str, *names: str) -> str:
    """The code with other names."""
    return re.sub(rf"\b({'|'.join(names)})\b", r"\1_now", code)


@pytest.mark.parametrize("case", CASES, ids=CALLED)
def test_a_piece_is_replaced_and_nothing_else(folder: Path, case: Case) -> None:
    """A statement, an expression, a header, a decorator, a part of a call or of a dictionary."""
    expected = tree_of(CODE.replace(case.before, case.after))

    assert changed(folder, CODE, case.old, case.new) == expected


@pytest.mark.parametrize("case", CASES, ids=CALLED)
def test_layout_and_comments_do_not_count(folder: Path, case: Case) -> None:
    """Neither those of the code nor those of the piece."""
    spread = re.sub(r"(?<=[(,{])(?! *$)", "  # why\n", case.old, flags=re.M)
    expected = tree_of(CODE.replace(case.before, case.after))

    assert (
        changed(folder, ast.unparse(ast.parse(CODE)), indent(case.old, "    "), case.new)
        == expected
    )
    assert changed(folder, CODE, spread, case.new) == expected


@pytest.mark.parametrize("case", CASES, ids=CALLED)
def test_a_new_name_hides_no_piece(folder: Path, case: Case) -> None:
    """The text that takes its place has the new name too."""
    for name in RENAMED:
        expected = tree_of(renamed(CODE.replace(case.before, case.after), name))

        assert changed(folder, renamed(CODE, name), case.old, case.new) == expected, name


@pytest.mark.parametrize("case", CASES, ids=CALLED)
def test_all_local_variables_may_have_new_names_at_once(folder: Path, case: Case) -> None:
    """With them, one attribute or function."""
    names = ("lease", "grant", "columns", "release")
    expected = tree_of(renamed(CODE.replace(case.before, case.after), *names))

    assert changed(folder, renamed(CODE, *names), case.old, case.new) == expected


def test_a_piece_may_move_to_another_file_of_the_folder(folder: Path) -> None:
    """The function that it is in may have another name."""
    old, where = "self.release(lease)", "app::Refresh.run"
    assert find(folder.parent, where, old).file.name == "refresh.py"

    (folder / "refresh.py").rename(folder / "renewal.py")
    (folder / "renewal.py").write_text(CODE.replace("run", "start"))

    assert find(folder.parent, where, old).file.name == "renewal.py"


def test_a_piece_that_is_there_twice_asks_for_its_function(folder: Path) -> None:
    """The message names the places, and what is to be written."""
    (folder / "other.py").write_text("def end(self, lease):\n    self.release(lease)\n")

    with pytest.raises(LookupError, match=r"(?s)other\.py\.end, .*run.*app/folder::function"):
        find(folder.parent, "app", "self.release(lease)")
    assert find(folder.parent, "app::end", "self.release(lease)").file.name == "other.py"


def test_the_place_with_the_fewest_new_names_is_taken(folder: Path) -> None:
    """Nothing else that is built alike stands in its way."""
    (folder / "refresh.py").write_text(renamed(CODE, "lease"))
    (folder / "other.py").write_text("def end(self, row):\n    self.drop(row)\n")

    assert find(folder.parent, "app", "self.release(lease)").file.name == "refresh.py"


def test_a_variable_may_be_called_as_its_function_is(folder: Path) -> None:
    """Its new name is seen though the function keeps the old one."""
    code = "def records(api):\n    records = api.list()\n    return len(records)\n"
    (folder / "refresh.py").write_text(
        code.replace("records =", "found =").replace("(records)", "(found)")
    )

    assert find(folder.parent, "app", "records = api.list()")


@pytest.mark.parametrize(
    ("piece", "before", "after"),
    [
        pytest.param("self.release(lease)", "self.release(lease)", "pass", id="it is gone"),
        pytest.param(
            "self.release(lease)", "self.release(lease)", "lease.release(self)", id="it is another"
        ),
        pytest.param(
            "self.release(lease)",
            "self.release(lease)",
            "self.release(grant)",
            id="a variable is another",
        ),
        pytest.param(
            "self.release(lease)",
            "self.release(lease)\n            raise",
            "self.end(lease)\n\n    def stop(self):\n        self.release.reset()",
            id="a function is another",
        ),
        pytest.param(
            "except (OSError, ValueError):", "ValueError", "KeyError", id="an error is another"
        ),
        pytest.param(
            'self.log.warning("not sent")', "log.warning", "history.note", id="two names are others"
        ),
        pytest.param("found.release(lease)", "", "", id="it is of the object itself"),
        pytest.param("first == second", "late(lease)", "lease == lease", id="two names are one"),
        pytest.param("@public\ndef run(self, lease, grant):", "", "", id="a decorator is missing"),
        pytest.param("lease, pause=WAIT", "", "", id="it is two arguments"),
    ],
)
def test_a_piece_that_is_gone_is_missed(folder: Path, piece: str, before: str, after: str) -> None:
    """Nothing that only looks like it is taken for it. The message says what is to be written."""
    (folder / "refresh.py").write_text(CODE.replace(before, after) if before else CODE)

    with pytest.raises(LookupError, match=r"write where it is now.*write what it is now"):
        find(folder.parent, "app", piece)


def test_a_function_that_lost_the_piece_is_not_left_for_another(folder: Path) -> None:
    """What is guarded in one function is not guarded by the same words in another."""
    (folder / "other.py").write_text("def end(self, lease):\n    pass\n")

    with pytest.raises(LookupError, match="write what it is now"):
        find(folder.parent, "app::end", "self.release(lease)")


@pytest.mark.parametrize("piece", ["if late(lease)", "raise\n  self", "else:"])
def test_half_a_piece_is_refused(folder: Path, piece: str) -> None:
    """It has to be code by itself."""
    with pytest.raises(LookupError, match="Write whole statements"):
        find(folder.parent, "app", piece)


def test_a_name_that_only_the_new_text_has_is_known(folder: Path) -> None:
    """It may have been renamed: then the change would break the code by itself."""
    place = find(folder.parent, "app", "self.release(lease)")

    assert not place.unknown("found = len(columns)\nself.release(found)")
    assert place.unknown("self.release(answer)") == {"answer"}


def test_new_names_hide_no_guard(tmp_path: Path) -> None:
    """In the code of the connections, all local variables get new names at once."""
    package = "app/connections"
    guards = [mutant for mutant in MUTANTS if mutant.where.partition("::")[0] == package]
    for file in (ROOT / package).glob("*.py"):
        tree = ast.parse(file.read_text())
        for copy in ("before", "after"):
            (tmp_path / copy / package).mkdir(parents=True, exist_ok=True)
            (tmp_path / copy / package / file.name).write_text(ast.unparse(tree))
            rename_variables(tree)

    moved = [
        mutant.guard
        for mutant in guards
        if spot(tmp_path / "before", mutant) != spot(tmp_path / "after", mutant)
    ]

    assert len(guards) > 40
    assert not moved


def spot(root: Path, mutant: Mutant) -> tuple[object, ...]:
    """Where a guard is, for comparison."""
    place = find(root, mutant.where, mutant.old, mutant.new)
    parent = place.spot.parent
    line = getattr(parent, "lineno", None)
    return place.file.name, place.spot.function, place.spot.field, place.spot.start, line


def rename_variables(tree: ast.Module) -> None:
    """Give each variable of a function a new name."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            variables = [
                node for node in ast.walk(function) if isinstance(node, ast.Name | ast.arg)
            ]
            local = {
                name
                for node in variables
                if not isinstance(getattr(node, "ctx", None), ast.Load)
                and (name := name_of(node)) != "self"
                and not name.endswith("_now")
            }
            for node in variables:
                if name_of(node) in local:
                    field = "id" if isinstance(node, ast.Name) else "arg"
                    setattr(node, field, f"{name_of(node)}_now")


def name_of(node: ast.Name | ast.arg) -> str:
    return node.id if isinstance(node, ast.Name) else node.arg
