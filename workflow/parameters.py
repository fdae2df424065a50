"""What a page, a run or a command was given, held against what it takes."""

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from IPython import get_ipython
from pydantic import ValidationError

from vicrop.run.records import RunConfig
from workflow import matrix

INJECTED = "# Parameters"
"""Begins the cell that papermill adds, which assigns whatever it was given."""

ANY = object()
"""A default that takes values of any type: an annotation or a call says what."""


def check() -> None:
    """Refuse parameters that this notebook does not have, or of another type.

    To be called in a cell below its parameters; where nobody injected any, all is well.

    Raises:
        ValueError: naming the parameter, and the nearest that there is.
    """
    shell = get_ipython()
    cells = shell.history_manager.input_hist_parsed if shell else []
    added = [cell for cell in cells if cell.startswith(INJECTED)]
    if added:
        own = [cell for cell in cells if not cell.startswith(INJECTED)]
        compare(assigned(reversed(own)), assigned(added[-1:]))


def compare(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse what has no default, or is not of its type.

    Args:
        defaults: by name; ``ANY`` and None take everything.
        given: by name.

    Raises:
        ValueError: for the first that is wrong.
    """
    matrix.refuse("parameter", given, defaults)
    for name, value in given.items():
        default = defaults[name]
        if default is not ANY and default is not None and not _alike(value, default):
            kind = type(default).__name__
            raw = "; papermill's -r gives text as it stands" if kind == "str" else ""
            raise ValueError(
                f"parameter {name} is {value!r}, expected {kind} such as {default!r}"
                f"{raw}"
            )


def _alike(value: Any, default: Any) -> bool:
    kinds = {float: (float, int), list: (list, tuple), tuple: (list, tuple)}
    kind = kinds.get(type(default), type(default))
    return isinstance(value, kind) and isinstance(value, bool) == (kind is bool)


def assigned(cells: Iterable[str]) -> dict[str, Any]:
    """What cells assign at their top level; values that are not written out are ANY."""
    found: dict[str, Any] = {}
    for cell in cells:
        try:
            body = ast.parse(cell).body
        except SyntaxError:  # somebody's try in the same kernel
            continue
        for line in body:
            if isinstance(line, ast.Assign):
                for target in line.targets:
                    found |= dict(_pairs(target, line.value))
            elif isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                found[line.target.id] = ANY
    return found


def _pairs(target: ast.expr, value: ast.expr) -> Iterable[tuple[str, Any]]:
    if isinstance(target, ast.Name):
        yield target.id, _written(value)
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, part in zip(target.elts, value.elts, strict=False):
            yield from _pairs(one, part)


def _written(value: ast.expr) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError:
        return ANY


def run_config(names: Mapping[str, Any]) -> RunConfig:
    """The run that a page's names tell, such as ``globals()``.

    Raises:
        ValueError: in one line, for a value that a run does not take.
    """
    given = {name: names[name] for name in RunConfig.model_fields if name in names}
    try:
        return RunConfig(**given)
    except ValidationError as error:
        raise ValueError(f"parameter {matrix.first_fault(error)}") from None
