"""Finds a piece of Python code by its syntax tree, and replaces it.

A piece is one or more statements, an expression, the header of a block (`if seen.late:`), an
`except` clause, a decorator, a keyword argument or an item of a dictionary. Layout and comments do
not matter. A renamed piece is found if the old name no longer exists: a local variable in its
function, any other name in the file.
"""

import ast
import builtins
import copy
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

#: Names that are never renamed.
FIXED = {"self", *dir(builtins)}
#: The parts of a statement that do not belong to its header.
BLOCKS = ("body", "handlers", "orelse", "finalbody", "decorator_list")
#: The ways to parse a piece: a frame that turns it into a module, and the path to its nodes.
READINGS = {
    "statements": ("{}", ("body",)),
    "expression": ("({}\n)", ("body", "value")),
    "keywords": ("_({}\n)", ("body", "value", "keywords")),
    "items": ("{{{}\n}}", ("body", "value", "items")),
    "handlers": ("try: ...\n{}", ("body", "handlers")),
    "decorators": ("{}\ndef _(): ...", ("body", "decorator_list")),
}
#: Adjacent nodes of a tree. An item of a dictionary is a pair of two nodes.
Nodes = list[Any]
#: The name in the code for each name of a piece, by its kind: "variable" or "attribute".
Names = dict[tuple[str, str], str]

_parsed = lru_cache(maxsize=512)(ast.parse)


@dataclass(frozen=True)
class Spot:
    """A member of a field of `parent`, its class or function, and the scope of its variables."""

    parent: ast.AST
    field: str
    start: int
    function: str
    local: ast.AST

    def is_in(self, function: str) -> bool:
        """Whether it is in the function or class with this name."""
        return not function or f".{function}." in f"{self.function}."


@dataclass(frozen=True)
class Place:
    """A place where a piece was found, how the piece was parsed, and its names there."""

    file: Path
    tree: ast.Module
    spot: Spot
    reading: str
    piece: Nodes
    names: Names

    @property
    def renamed(self) -> Names:
        """The names that are different."""
        return {old: new for old, new in self.names.items() if old[1] != new}

    def is_likely(self) -> bool:
        """Whether it is the same code, with local variables and at most one other name renamed.

        The old names must no longer exist.
        """
        if any(
            kind == "variable" and FIXED & {old, new} for (kind, old), new in self.renamed.items()
        ):
            return False
        code = list(ast.iter_child_nodes(self.spot.local))
        variables = _bound_in(code)
        others = [old for old, new in self.renamed.items() if (old[0], new) not in variables]
        return (
            len(others) <= 1
            and _names_in(self.tree).isdisjoint(others)
            and _names_in(code).isdisjoint(self.renamed)
        )

    def unknown(self, new: str) -> set[str]:
        """The variables in `new` that nothing in the file defines."""
        there = _translated(_read(new, self.reading), self.names)
        used = {name for name in _names_in(there) if name[0] == "variable"} - _bound_in(there)
        return {name for _, name in used - _names_in(self.tree)} - FIXED


def find(root: Path, where: str, old: str, new: str = "") -> Place:
    """The only place of `old`. `where` is a file or a folder, with `::function` if needed."""
    path, _, function = where.partition("::")
    files = [root / path] if (root / path).is_file() else sorted((root / path).rglob("*.py"))
    readings = [name for name in READINGS if _read(old, name) and (not new or _read(new, name))]
    if not readings:
        raise LookupError(f"Write whole statements, expressions or headers:\n{old}\n{new}")
    trees = [(file, _parsed(file.read_text())) for file in files]
    found = [place for tree in trees for name in readings for place in _places(*tree, old, name)]
    if not any(_has(tree, function) for _, tree in trees):
        function = ""  # it was renamed
    inside = [place for place in found if place.spot.is_in(function)]
    best = [place for place in inside if not place.renamed]
    if not best:
        likely = [place for place in inside if place.is_likely()]
        fewest = min((len(place.renamed) for place in likely), default=0)
        best = [place for place in likely if len(place.renamed) == fewest]
    if not best:
        raise LookupError(
            f"{where} does not have this code any more:\n{old}\n"
            "If the code has moved, write where it is now; if it has changed, write what it is now."
        )
    if len(best) > 1:
        places = [f"{place.file.relative_to(root)}{place.spot.function}" for place in best]
        raise LookupError(
            f"This code is in {', '.join(places)}:\n{old}\n"
            "Write more of the code around it, or the function it is in: app/folder::function."
        )
    return best[0]


def replaced(place: Place, new: str) -> str:
    """The text of the file with `new` in this place, with the current names of the file."""
    nodes = _translated(_read(new, place.reading), place.names)
    copies: dict[int, Any] = {}
    tree = copy.deepcopy(place.tree, copies)
    parent, field, start = copies[id(place.spot.parent)], place.spot.field, place.spot.start
    there = _nodes(parent, field)
    end = start + len(place.piece)
    pairs = zip(place.piece, there[start:end], strict=True)
    left_open = [node for part, node in pairs if _is_header(part)]
    for header, node in zip(filter(_is_header, nodes), left_open, strict=False):
        for block in BLOCKS:
            if block == "body" or not getattr(header, block, None):
                setattr(header, block, getattr(node, block, []))
    _set_nodes(parent, field, [*there[:start], *nodes, *there[end:]])
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


@cache
def _read(piece: str, reading: str) -> Nodes:
    """The nodes of a piece that is parsed in one way; empty if that is impossible."""
    frame, way = READINGS[reading]
    text = textwrap.dedent(piece).strip().removesuffix(",")
    try:
        nodes: Nodes = [ast.parse(frame.format(text + " ..." * text.endswith(":")))]
    except SyntaxError:
        return []
    for field in way:
        if not nodes or not text or (field == "keywords" and _nodes(nodes[-1], "args")):
            return []
        nodes = _nodes(nodes[-1], field)
    return nodes


def _nodes(parent: ast.AST, field: str) -> Nodes:
    """The content of a field, as a list."""
    if isinstance(parent, ast.Dict) and field == "items":
        return list(zip(parent.keys, parent.values, strict=True))
    value = getattr(parent, field, [])
    return value if isinstance(value, list) else [value]


def _set_nodes(parent: ast.AST, field: str, nodes: Nodes) -> None:
    if isinstance(parent, ast.Dict) and field == "items":
        parent.keys, parent.values = [key for key, _ in nodes], [value for _, value in nodes]
    elif isinstance(getattr(parent, field), list):
        setattr(parent, field, nodes or [ast.Pass()] * (field == "body"))
    else:
        (only,) = nodes
        setattr(parent, field, only)


def _is_header(node: object) -> bool:
    """Whether the block of a statement is only `...`, so that any block matches."""
    body = getattr(node, "body", None)
    return isinstance(body, list) and [ast.unparse(line) for line in body] == ["..."]


@cache
def _spots(tree: ast.Module) -> dict[type, list[Spot]]:
    """Every spot of a tree, by the type of its node."""
    spots = defaultdict(list)

    def visit(parent: ast.AST, function: str, local: ast.AST) -> None:
        for field in (*parent._fields, *["items"] * isinstance(parent, ast.Dict)):
            for start, node in enumerate(_nodes(parent, field)):
                is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                is_named = is_function or isinstance(node, ast.ClassDef)
                name = f"{function}.{node.name}" if is_named else function
                code = node if is_function and local is tree else local
                spots[type(node)].append(Spot(parent, field, start, name, code))
                if isinstance(node, ast.AST):
                    visit(node, name, code)

    visit(tree, "", tree)
    return spots


def _has(tree: ast.Module, function: str) -> bool:
    """Whether there is a function or class with this name."""
    return any(spot.is_in(function) for spots in _spots(tree).values() for spot in spots)


def _places(file: Path, tree: ast.Module, old: str, reading: str) -> Iterator[Place]:
    """The places of a piece, with any names."""
    piece = _read(old, reading)
    for spot in _spots(tree)[type(piece[0])]:
        there = _nodes(spot.parent, spot.field)[spot.start :][: len(piece)]
        names: Names = {}
        is_decorator = spot.field == "decorator_list"
        is_statement = isinstance(spot.parent, ast.Expr)  # and was parsed as one
        if is_decorator != (reading == "decorators") or (is_statement and reading == "expression"):
            continue
        if not _fits(piece, there, names):
            continue
        if len({(kind, new) for (kind, _), new in names.items()}) == len(names):
            yield Place(file, tree, spot, reading, piece, names)


def _fits(piece: object, there: object, names: Names, kind: str = "") -> bool:
    """Whether code is the same except for its names, which are recorded."""
    if type(piece) is not type(there):
        return False
    if isinstance(piece, list | tuple) and isinstance(there, list | tuple):
        pairs = zip(piece, there, strict=False)
        return len(piece) == len(there) and all(_fits(*pair, names, kind) for pair in pairs)
    if isinstance(piece, ast.AST):
        left_open = BLOCKS if _is_header(piece) else ()
        return all(
            _fits(value, getattr(there, field), names, _kind(piece, field))
            for field, value in ast.iter_fields(piece)
            if field not in left_open or (field != "body" and value)
        )
    if isinstance(piece, str) and kind:
        return names.setdefault((kind, piece), str(there)) == there
    return piece == there


def _kind(node: ast.AST, field: str) -> str:
    """The kind of the name in this field; empty if it is a value."""
    if isinstance(node, ast.Constant):
        return ""
    return "attribute" if field == "attr" or isinstance(node, ast.keyword) else "variable"


def _names(code: ast.AST | Nodes) -> Iterator[tuple[ast.AST, str, tuple[str, str]]]:
    """Each name in a piece of code: the node, its field, and the name with its kind."""
    if isinstance(code, list | tuple):
        for node in code:
            yield from _names(node)
    elif isinstance(code, ast.AST):
        for node in ast.walk(code):
            for field, value in ast.iter_fields(node):
                if isinstance(value, str) and (kind := _kind(node, field)):
                    yield node, field, (kind, value)


def _translated(piece: Nodes, names: Names) -> Nodes:
    """A copy of these nodes, with the current names of the code."""
    nodes = copy.deepcopy(piece)
    for node, field, name in _names(nodes):
        setattr(node, field, names.get(name, name[1]))
    return nodes


def _names_in(code: ast.AST | Nodes) -> set[tuple[str, str]]:
    """Every name in a piece of code, with its kind."""
    return {name for _, _, name in _names(code)}


def _bound_in(code: ast.AST | Nodes) -> set[tuple[str, str]]:
    """The variables that a piece of code defines."""
    return {
        name
        for node, _, name in _names(code)
        if name[0] == "variable" and not isinstance(getattr(node, "ctx", None), ast.Load)
    }
