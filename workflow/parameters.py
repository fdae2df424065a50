"""What a page, a run or a command was given, held against what it takes."""

import ast
import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from vicrop.run.records import RunConfig

INJECTED = "# Parameters"
"""Begins the cell that papermill adds, which assigns whatever it was given."""

ANY = object()
"""A default that takes values of any type: an annotation or a call says what."""


def refuse(
    what: str, names: Iterable[str], known: Iterable[str], where: str = ""
) -> None:
    """Refuse names that are not known, with the nearest that is.

    Raises:
        ValueError: for the first of them.
    """
    there = list(known)
    for name in names:
        if name not in there:
            near = difflib.get_close_matches(str(name), there, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(
                f"unknown {what} {name!r}{where}; {hint}known: {', '.join(there)}"
            )


def check() -> None:
    """Refuse parameters that this notebook does not have, or of another type.

    To be called in a cell below its parameters. What was given is read in papermill's
    cell, what there is in all cells that ran before it; without it all is well.

    Raises:
        ValueError: naming the parameter, and the nearest that there is.
    """
    from IPython import get_ipython  # planning takes no second

    shell = get_ipython()
    cells = shell.history_manager.input_hist_parsed if shell else []
    added = [n for n, cell in enumerate(cells) if cell.startswith(INJECTED)]
    before = cells[: max(added, default=0)]
    defaults = assigned(one for one in before if not one.startswith(INJECTED))
    if defaults:
        compare(defaults, assigned(cells[n] for n in added[-1:]))


def compare(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse what has no default, or is not of its type.

    Args:
        defaults: by name; ``ANY`` and None take everything.
        given: by name.

    Raises:
        ValueError: for the first that is wrong.
    """
    refuse("parameter", given, defaults)
    for name, value in given.items():
        default = defaults[name]
        said = value is not ANY and default is not ANY and default is not None
        if said and not _alike(value, default):
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
        raise ValueError(f"parameter {first_fault(error)}") from None


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong, its place before it, in one line."""
    first = error.errors(include_url=False)[0]
    parts = [part for part in first["loc"] if part != "[key]"]
    place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts)
    reason = first["msg"].removeprefix("Value error, ")
    got = "" if first["type"] == "value_error" else f" (got {first['input']!r:.80})"
    return f"{place.removeprefix('.') or 'whole file'}: {reason}{got}"
