"""What a notebook's outputs depend on: its code, and the house's modules that it uses.

Read from the text, without importing anything: the workflow asks before every job.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from vicrop import paths


def code_of(notebook: Path) -> str:
    """Hash of a notebook's code; words beside it and captions do not count."""
    return hashlib.sha256("\0".join(_cells(notebook)).encode()).hexdigest()[:16]


def sources_of(file: Path) -> list[str]:
    """Modules of this repository that a notebook or module imports, from its root.

    Those of its imports too, wherever they stand; what is for type checkers only is
    left out. Of a package that loads its names when they are asked for, it is the
    modules of the names that are used.

    Raises:
        ImportError: for a name that such a package does not have.
    """
    found: set[Path] = set()
    todo = [file]
    while todo:
        asked = (module for name in _asked(todo.pop()) for module in _modules(name))
        new = set(asked) - found
        found |= new
        todo += new
    return sorted(str(one.relative_to(paths.ROOT)) for one in found)


def _cells(notebook: Path) -> list[str]:
    book = json.loads(notebook.read_text(encoding="utf-8"))
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    return ["".join(cell["source"]) for cell in cells]


@cache
def _parsed(file: Path) -> ast.Module:
    if file.suffix == ".ipynb":
        return ast.parse("\n".join(_cells(file)))
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def _asked(file: Path) -> frozenset[str]:
    """Dotted names that a file's code asks for: what it imports, and uses of it."""
    nodes = list(_run(_parsed(file)))
    whole: set[str] = set()
    bound: dict[str, str] = {}
    for node in nodes:
        for one in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
            start = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            whole.add(start + one.name)
            # `import a.b` binds `a`.
            first = one.name if start or one.asname else one.name.split(".")[0]
            bound[one.asname or first] = start + first
    used = (_dotted(node, bound) for node in nodes if isinstance(node, ast.Attribute))
    named = (_prefix(node) for node in nodes if isinstance(node, ast.Call))
    return frozenset(filter(None, (*whole, *used, *named)))


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes that are run: not those for type checkers, nor a lazy package's loader."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.FunctionDef) and child.name == "__getattr__":
            continue
        yield child
        yield from _run(child)


def _dotted(node: ast.AST, bound: dict[str, str]) -> str | None:
    """An attribute of something imported, as a dotted name."""
    if isinstance(node, ast.Name):
        return bound.get(node.id)
    if not isinstance(node, ast.Attribute):
        return None
    home = _dotted(node.value, bound)
    return home and f"{home}.{node.attr}"


def _prefix(call: ast.Call) -> str | None:
    """``package.*`` where modules are imported by names that only a run knows."""
    if ast.unparse(call.func).rpartition(".")[2] != "import_module":
        return None
    (first, *_) = call.args
    parts = first.values if isinstance(first, ast.JoinedStr) else []
    if not parts or not isinstance(parts[0], ast.Constant):
        return None
    return f"{parts[0].value}*"


def _file(module: str) -> Path | None:
    """Where a module of this repository is; None for any other."""
    base = paths.ROOT.joinpath(*module.split("."))
    places = (base.with_suffix(".py"), base / "__init__.py")
    return next((place for place in places if place.is_file()), None)


@cache
def _modules(name: str) -> frozenset[Path]:
    """Modules that are loaded when a dotted name is asked for."""
    found: set[Path] = set()
    at, *rest = name.split(".")
    home = _file(at)
    while home is not None:
        found.add(home)
        if not rest or home.name != "__init__.py":
            break
        first, *rest = rest
        if first == "*":
            found |= set(home.parent.glob("*.py"))
            break
        inner = _file(f"{at}.{first}")
        if inner is None:
            for other in _lazily(at, home, first):
                found |= _modules(".".join([other, *rest]))
            break
        at, home = f"{at}.{first}", inner
    return frozenset(found)


def _lazily(package: str, home: Path, name: str) -> list[str]:
    """Where a package's ``__getattr__`` takes a name from; nowhere if it is its own."""
    body = _parsed(home).body
    loaders = [node for node in body if getattr(node, "name", "") == "__getattr__"]
    if not loaders or name.startswith("__") or name in _own(body):
        return []
    for node in ast.walk(loaders[0]):
        if isinstance(node, ast.ImportFrom) and name in _names(node):
            return [f"{node.module}.{name}"]
    homes = _strings(body)
    if name not in homes:
        raise ImportError(f"{package} has no name {name!r} that could be loaded")
    inside = f"{package}.{homes[name]}"
    return [f"{inside if _file(inside) else homes[name]}.{name}"]


def _strings(body: Iterable[ast.stmt]) -> dict[str, str]:
    """Texts by texts, of all dictionaries that a module writes out."""
    told = (node.value for node in body if isinstance(node, ast.Assign | ast.AnnAssign))
    return {
        key.value: value.value
        for one in told
        if isinstance(one, ast.Dict)
        for key, value in zip(one.keys, one.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
    }


def _own(body: Iterable[ast.stmt]) -> set[str]:
    """Names that a module binds itself."""
    found: set[str] = set()
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= _names(node)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {one.id for one in node.targets if isinstance(one, ast.Name)}
    return found


def _names(node: ast.Import | ast.ImportFrom) -> set[str]:
    return {one.asname or one.name for one in node.names}
