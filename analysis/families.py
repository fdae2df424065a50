"""What families of models say of themselves, read off the code."""

import inspect

from vicrop.adapters.facts import Facts
from vicrop.adapters.registry import FAMILIES


def facts() -> list[dict[str, str]]:
    """What a family says, for the page about it.

    Returns:
        Rows with the keys ``fact``, ``says`` and ``families``: those that every family
        says first, then those with a usual answer and the families without it.
    """
    must = sorted(Facts.__abstractmethods__)
    may = [
        name
        for name, fact in vars(Facts).items()
        if callable(fact) and name not in must and not name.startswith("_")
    ]
    rows = []
    for name in must + may:
        own = [key for key, family in FAMILIES.items() if name in vars(family.facts)]
        says = str(inspect.getdoc(getattr(Facts, name))).splitlines()[0]
        families = "every family" if name in must else ", ".join(own)
        rows.append(
            {"fact": name, "says": says.replace("``", ""), "families": families}
        )
    return rows
