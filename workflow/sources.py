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
    """Dotted names that a file imports, and uses of what it imports.

    ``package.*`` for modules whose names are computed.
    """
    nodes = list(_run(_parsed(file)))
    names: set[str] = set()
    homes: dict[str, str] = {}
    for node in nodes:
        for one in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
            whole = f"{getattr(node, 'module', '')}.{one.name}".lstrip(".")
            names.add(whole)
            homes[one.asname or one.name] = whole
    homes |= {name.split(".")[0]: name.split(".")[0] for name in homes if "." in name}
    for node in nodes:
        text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        first, _, rest = text.partition(".")
        if first in homes and rest.replace(".", "").isidentifier():
            names.add(f"{homes[first]}.{rest}")
        if isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            names |= {f"{part}*" for part in _texts(node.args[0])[:1]}
    return frozenset(names)


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes that are run: not those for type checkers, nor a lazy package's loader."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.FunctionDef) and child.name == "__getattr__":
            continue
        yield child
        yield from _run(child)


def _texts(node: ast.AST) -> list[str]:
    """Constant texts below a node."""
    below = (one.value for one in ast.walk(node) if isinstance(one, ast.Constant))
    return [value for value in below if isinstance(value, str)]


def _file(module: str) -> Path | None:
    """Where a module of this repository is; None for any other."""
    base = paths.ROOT.joinpath(*module.split("."))
    places = (base.with_suffix(".py"), base / "__init__.py")
    return next((place for place in places if place.is_file()), None)


@cache
def _modules(name: str) -> frozenset[Path]:
    """Modules that are loaded when a dotted name is imported."""
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
        at, home = f"{at}.{first}", inner
    return frozenset(found)


def _lazily(package: str, home: Path, name: str) -> list[str]:
    """Where a package's ``__getattr__`` takes a name from; nowhere if it is its own."""
    body = _parsed(home).body
    loaders = [node for node in body if getattr(node, "name", "") == "__getattr__"]
    if not loaders or name.startswith("__"):
        return []
    for node in ast.walk(loaders[0]):
        if isinstance(node, ast.ImportFrom) and name in _bound([node]):
            return [f"{node.module}.{name}"]
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            pairs = zip(node.value.keys, node.value.values, strict=True)
            told = {ast.unparse(key): _texts(value) for key, value in pairs if key}
            if told.get(repr(name)):
                return [f"{package}.{told[repr(name)][0]}.{name}"]
    if name not in _bound(body):
        raise ImportError(f"{package} has no name {name!r} that could be loaded")
    return []


def _bound(body: Iterable[ast.stmt]) -> set[str]:
    """Names that a module binds itself."""
    found = {getattr(node, "name", "") for node in body}
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {one.asname or one.name for one in node.names}
        elif isinstance(node, ast.Assign):
            found |= {ast.unparse(one) for one in node.targets}
    return found
