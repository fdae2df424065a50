"""What an adapter says, read off the adapters themselves, for the page about them."""

import inspect

from vicrop.adapters.adapter import Adapter
from vicrop.adapters.registry import FAMILIES


def verbs() -> list[dict[str, str]]:
    """Each verb that a family says: what it means, and who says it otherwise.

    Returns:
        Rows with the keys ``verb``, ``says`` and ``families``: those that every family
        must say first, then those with a usual answer and the families without it.
    """
    must = sorted(Adapter.__abstractmethods__)
    names = [name for kind in reversed(Adapter.__mro__) for name in vars(kind)]
    may = [name for name in names if name not in must and _who(name)]
    everyone = [_row(name, "every family") for name in must]
    return everyone + [_row(name, ", ".join(_who(name))) for name in may]


def _who(name: str) -> list[str]:
    """Families that override a public verb."""
    verb = getattr(Adapter, name)
    if name.startswith("_") or isinstance(verb, tuple | dict | int):
        return []
    return [key for key, family in FAMILIES.items() if name in vars(family)]


def _row(name: str, families: str) -> dict[str, str]:
    said = inspect.getdoc(getattr(Adapter, name))
    assert said is not None
    meaning = said.splitlines()[0].replace("``", "")
    return {"verb": name, "says": meaning, "families": families}
